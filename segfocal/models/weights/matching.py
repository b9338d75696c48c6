"""Pairs the tensors of a file with those of a model, by name and shape alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from segfocal.models.weights.identity import Shapes, is_tiny_vit

# What fine-tuning adds to a model that its file was saved without.
ADDED = ("*.Adapter.*", "*adapter*", "*lora_*")
# Of a correction decoder a file's mask decoder is the beginning.
_CORRECTION, _MASKS = "correction_decoder.", "mask_decoder."
# What TinyViT's files hold besides: the classifier it was first trained with, and indices that the model computes.
UNUSED = ("image_encoder.norm_head.*", "image_encoder.head.*", "image_encoder.*.attn.attention_bias_idxs")


@dataclass(frozen=True, kw_only=True)
class TensorChange:
    """A tensor whose shape in the file is not the model's."""

    name: str
    file: tuple[int, ...]
    model: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.name} ({_by(self.file)}, the model's {_by(self.model)})"


@dataclass(frozen=True, kw_only=True)
class Match:
    """The names of a model and a file, sorted out; each name is in one place.

    Args:
        taken: tensors that fit as they are.
        resized: positions learnt at another image size.
        added: the model's adapters, of which the file has none.
        copied: of the model's correction decoder, of which the file has none: the file's mask decoder once more.
        missing: other tensors that the file lacks.
        unused: tensors of the file that no answer depends on.
        unexpected: other tensors that the model lacks.
        mismatched: tensors of another shape.
    """

    taken: tuple[str, ...]
    resized: tuple[TensorChange, ...]
    added: tuple[str, ...]
    copied: tuple[str, ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[TensorChange, ...]


def match(model: Shapes, file: Shapes) -> Match:
    """Return which tensors of a file a model takes, and which differ."""
    changes = [
        TensorChange(name=name, file=tuple(file[name]), model=tuple(shape))
        for name, shape in model.items()
        if name in file and tuple(file[name]) != tuple(shape)
    ]
    absent = [name for name in model if name not in file]
    new_kinds = [kind for kind in ADDED if not any(fnmatchcase(name, kind) for name in file)]
    added = [name for name in absent if any(fnmatchcase(name, kind) for kind in new_kinds)]
    has_own = any(name.startswith(_CORRECTION) for name in file)
    copied = [] if has_own else [name for name in absent if tuple(file.get(source_of(name), ())) == tuple(model[name])]
    changed = {change.name for change in changes}
    unknown = [name for name in file if name not in model]
    unused = [name for name in unknown if is_tiny_vit(model) and any(fnmatchcase(name, kind) for kind in UNUSED)]
    return Match(
        taken=tuple(name for name in model if name in file and name not in changed),
        resized=tuple(change for change in changes if _is_position(change)),
        added=tuple(added),
        copied=tuple(copied),
        missing=tuple(name for name in absent if name not in {*added, *copied}),
        unused=tuple(unused),
        unexpected=tuple(name for name in unknown if name not in set(unused)),
        mismatched=tuple(change for change in changes if not _is_position(change)),
    )


def source_of(name: str) -> str:
    """Return the name of the tensor that one of a correction decoder is a copy of; other names as they are."""
    return _MASKS + name.removeprefix(_CORRECTION) if name.startswith(_CORRECTION) else name


def grouped(names: Sequence[str], *, most: int = 4) -> str:
    """Return names in short: numbers become *, equal ones are counted, and at most `most` are shown."""
    counts: dict[str, int] = {}
    for name in names:
        key = re.sub(r"\.\d+(?=\.|$)", ".*", name)
        counts[key] = counts.get(key, 0) + 1
    if len(counts) > most:
        counts = {}
        for name in names:
            key = ".".join(name.split(".")[:2]) + (".*" if name.count(".") > 1 else "")
            counts[key] = counts.get(key, 0) + 1
    shown = [f"{key} ×{count}" if count > 1 else key for key, count in list(counts.items())[:most]]
    return ", ".join([*shown, "…"] if len(counts) > most else shown)


def _is_position(change: TensorChange) -> bool:
    """Return whether a change is one of a position embedding [1,h,w,c], or of relative positions [2n-1,c]."""
    file, model = change.file, change.model
    if change.name.endswith("pos_embed"):
        return len(file) == len(model) == 4 and (file[0], file[3]) == (model[0], model[3])
    if change.name.endswith(("rel_pos_h", "rel_pos_w")):
        return len(file) == len(model) == 2 and file[1] == model[1]
    return False


def _by(shape: Sequence[int]) -> str:
    return "×".join(str(side) for side in shape) or "one number"
