"""Where weights are from: their source and licence, as a converted file or a bundle keeps them, or as published."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segfocal.errors import UserError
from segfocal.foreign.door import read_json
from segfocal.models.weights.published import PUBLISHED
from segfocal.models.weights.reading import BUNDLED, WeightFile

ORIGIN = ("source", "package", "licence", "source_sha256")  # keys of a converted file's metadata and a bundle's facts
_MOBILE_SAM = "6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f"  # of weights/mobile_sam.pt
_FILES = {  # whose authors publish them by themselves, not in a package
    _MOBILE_SAM: {
        "source": "MobileSAM, ChaoningZhang/MobileSAM on GitHub",
        "licence": "Apache-2.0",
        "source_sha256": _MOBILE_SAM,
    }
}


def origin_of(file: WeightFile, sha256: str) -> dict[str, str]:
    """Return source, package, licence and SHA-256 of the original file, as far as they are known.

    Args:
        file: with them in its metadata, in a bundle, or neither.
        sha256: of the file, by which a published one is known.
    """
    for published in PUBLISHED.values():
        if published.sha256 == sha256:
            return published.origin
    if sha256 in _FILES:
        return dict(_FILES[sha256])
    if file.path.name == BUNDLED:
        return {**_texts(_weights_of_bundle(file.path.parent / "bundle.json")), **_texts(file.metadata)}
    return _texts(file.metadata)


def _weights_of_bundle(path: Path) -> Any:
    """Return what a bundle says of the weights that it was made of; None where that cannot be read."""
    try:
        return read_json(path)["training"]["weights"]
    except (UserError, KeyError, TypeError):
        return None


def _texts(facts: Any) -> dict[str, str]:
    if not isinstance(facts, Mapping):
        return {}
    return {key: facts[key] for key in ORIGIN if isinstance(facts.get(key), str)}
