"""Loads the tensors of a weight file into a model.

Positions learnt at another image size are interpolated: position embeddings bilinearly, as SAM-Med2D does (and it then
trains; ViTDet would take bicubic), relative positions linearly, as SAM itself does when it runs at another size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segfocal.errors import UserError
from segfocal.files import sha256_of
from segfocal.models.weights.fit_report import WeightsReport, problems
from segfocal.models.weights.identity import Shapes, described, identity_of
from segfocal.models.weights.matching import Match, TensorChange, match, source_of
from segfocal.models.weights.origin import origin_of
from segfocal.models.weights.published import check_claim
from segfocal.models.weights.reading import WeightFile, read


def load_weights(
    model: nn.Module, path: str | Path, *, allow: Sequence[str] = (), resize: bool = True
) -> WeightsReport:
    """Give a model the tensors of a weight file or bundle, in place, and report what went where.

    Args:
        model: keeps the tensors that the file lacks.
        path: of the weight file or the bundle's folder.
        allow: patterns of tensor names that may be missing in the file (they stay as they are), unknown to the model or
            of another shape (they are not used).
        resize: interpolate positions of another image size; False refuses them.

    Raises:
        UserError: a file that cannot be read (see `read`), of another architecture, or with differences that `allow`
            does not name, numbers that are not finite, other tensors than the published ones it claims. The model is
            then as it was.
    """
    file = read(path)
    check_claim(file)
    state = model.state_dict()
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    found = _without_aliases(match(shapes, file.shapes), state)
    _check_architecture(shapes, file)
    _check_size(found, shapes, file, resize=resize)
    _check_allowed(found, shapes, file, allow)
    taken = {name: file.tensors[name] for name in found.taken}
    taken |= {name: file.tensors[source_of(name)] for name in found.copied}
    taken |= {change.name: resized(file.tensors[change.name], change.model) for change in found.resized}
    _check_finite(taken, file.path)
    model.load_state_dict(taken, strict=False)
    sha256 = sha256_of(file.path)
    return WeightsReport(
        path=str(path),
        sha256=sha256,
        family=described(file.shapes),
        model=described(shapes),
        match=found,
        allow=tuple(allow),
        origin=origin_of(file, sha256),
    )


def resized(positions: Tensor, shape: Sequence[int]) -> Tensor:
    """Return a position embedding [1,h,w,c] or relative positions [n,c] at another h and w, or n."""
    if positions.ndim == 4:
        image = positions.float().permute(0, 3, 1, 2)
        return F.interpolate(image, size=tuple(shape[1:3]), mode="bilinear", align_corners=False).permute(0, 2, 3, 1)
    return F.interpolate(positions.float().T[None], size=shape[0], mode="linear", align_corners=False)[0].T


def _without_aliases(found: Match, state: dict[str, Tensor]) -> Match:
    """Drop missing names that alias a tensor which the file has: safetensors stores shared tensors once."""
    present = {state[name].data_ptr() for name in found.taken if state[name].numel()}
    return replace(found, missing=tuple(name for name in found.missing if state[name].data_ptr() not in present))


def _check_architecture(model: Shapes, file: WeightFile) -> None:
    """Raise UserError for a file of another architecture, for which listing every tensor would not help."""
    ours, theirs = identity_of(model), identity_of(file.shapes)
    strangers = not set(model) & set(file.shapes)
    if strangers or (ours and theirs and ours.architecture != theirs.architecture):
        raise UserError(
            expected=f"weights of {ours.name if ours else 'this model'}",
            found=theirs.name if theirs and theirs.supported else described(file.shapes),
            where=file.path,
            do="choose another file"
            if theirs and not theirs.supported
            else "choose the model they belong to, or another file",
        )


def _check_size(found: Match, model: Shapes, file: WeightFile, *, resize: bool) -> None:
    if found.resized and not resize:
        raise UserError(
            expected=f"weights for {described(model)}",
            found=f"{described(file.shapes)}, and resizing is switched off",
            where=file.path,
            do="set weights.resize=true, or data.window and model.image_size to the file's",
        )


def _check_allowed(found: Match, model: Shapes, file: WeightFile, allow: Sequence[str]) -> None:
    """Raise UserError for differences that no pattern names."""

    def refused(names: Sequence[str]) -> tuple[str, ...]:
        return tuple(name for name in names if not any(fnmatchcase(name, pattern) for pattern in allow))

    def changes(listed: Sequence[TensorChange]) -> tuple[TensorChange, ...]:
        names = set(refused([change.name for change in listed]))
        return tuple(change for change in listed if change.name in names)

    left = replace(
        found,
        missing=refused(found.missing),
        unexpected=refused(found.unexpected),
        mismatched=changes(found.mismatched),
    )
    if listed := problems(left):
        names = [*left.missing, *left.unexpected, *(change.name for change in left.mismatched)]
        do = f'choose the model the file is of, or accept that: "weights.allow=[{",".join(_patterns(names))}]"'
        if all(source_of(name) != name for name in names):  # those of a correction decoder alone
            do = "set model.correction_decoder=true"
        raise UserError(
            expected=f"the tensors of {described(model)}",
            found=f"{described(file.shapes)} with {'; '.join(listed)}",
            where=file.path,
            do=do,
        )


def _patterns(names: Sequence[str]) -> list[str]:
    """Return few patterns that cover names: their first two parts, or the first."""
    for parts in (3, 2, 1):
        kinds = [".".join(name.split(".")[:parts]) + ".*" * (name.count(".") >= parts) for name in names]
        if len(patterns := sorted(set(kinds))) <= 4:
            break
    return patterns


def _check_finite(tensors: dict[str, Tensor], path: Path) -> None:
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise UserError(
                expected="weights that are finite numbers",
                found=f"NaN or infinity in {name}",
                where=path,
                do="use an earlier file of that training",
            )
