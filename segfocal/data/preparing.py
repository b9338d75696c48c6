"""Preparing cases: each scan and its label read, put on the model's grid, normalised and stored slice by slice.

A prepared case is a folder named by the signature of its files and of every setting that shaped it, so a changed
setting never reads stale slices. It is written beside and renamed, so a killed run leaves none half-made.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

import blosc2
import numpy as np
from numpy.typing import NDArray

from segfocal.data import dicom_cases
from segfocal.data.case import Case
from segfocal.data.dicom_cases import label_grid, read_label
from segfocal.data.masks import check_size, label_map, read_masks
from segfocal.data.prepared import Preparation, PreparedCase
from segfocal.errors import UserError
from segfocal.grid import Volume
from segfocal.intensity import describe, of_channels
from segfocal.io import nifti, volumes
from segfocal.io.files import make_folder, write_json

_FORMAT = 1  # raise when what is stored changes meaning


def prepare(cases: Sequence[Case], preparation: Preparation, cache: Path) -> list[PreparedCase]:
    """Return the prepared slices of cases, preparing those that `cache` does not hold yet.

    Raises:
        UserError: an unreadable file, image and label on different grids, a cache that cannot be written.
    """
    make_folder(cache)
    prepared = []
    for case in cases:
        folder = cache / f"{case.name}-{_signature(case, preparation)}"
        if not folder.is_dir():
            _prepare_one(case, preparation, folder)
        prepared.append(PreparedCase(case.name, folder))
    return prepared


def check_pairs(cases: Iterable[Case]) -> None:
    """Raise UserError unless each image and its label have headers that agree; voxels are not read."""
    for case in cases:
        grids = [volumes.read_grid(path) for path in case.images]
        volumes.check_channels(grids, case.images)
        image = grids[0]
        for path in case.label_files:
            check_size(case, image, label_grid(case, image, path), path)


def read_pair(case: Case) -> tuple[Volume, Volume]:
    """Read a case's image and label map; UserError when they do not lie on one grid."""
    image = volumes.read_channels(case.images)
    if case.masks is not None:
        return image, label_map(case, image.grid)
    labels = read_label(case, image.grid)
    nifti.check_label_map(labels, case.label)
    check_size(case, image.grid, labels.grid, case.label)
    return image, labels


def _prepare_one(case: Case, preparation: Preparation, folder: Path) -> None:
    scan, target, pixels, values = (_masks if preparation.apart else _indices)(case, preparation)
    image = _image(scan, preparation)
    temporary = folder.with_name(f".{uuid.uuid4().hex[:8]}.{folder.name}")
    temporary.mkdir()
    try:
        _store(image.astype(np.float16), temporary / "image.b2nd")
        _store(target, temporary / "target.b2nd")
        meta = {"case": case.name, "shape": [len(image), *image.shape[-2:]], "channels": len(scan.channels())}
        meta |= {"label_values": values, "pixels": pixels}
        write_json(temporary / "case.json", meta)
        os.replace(temporary, folder)
    except (OSError, RuntimeError) as error:  # blosc2 raises RuntimeError where a disk is full
        if not folder.is_dir():  # another run may have finished the same case first
            raise UserError(
                expected="room to prepare the slices of a case",
                found=str(error),
                where=folder.parent,
                do="free some space, or set cache to another folder",
            ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _image(scan: Volume, preparation: Preparation) -> NDArray[np.float32]:
    """Return what a model sees of a scan: [d,h,w], or [d,c,h,w] of several channels."""
    channels = scan.channels()
    maps = of_channels(preparation.intensity, len(channels))
    seen = [own(preparation.grid.image(one).array) for one, own in zip(channels, maps, strict=True)]
    return seen[0] if len(seen) == 1 else np.stack(seen, axis=1)


_Parts = tuple[Volume, NDArray[np.uint8], list[list[int]], list[int]]  # scan, target, pixels, label values


def _indices(case: Case, preparation: Preparation) -> _Parts:
    scan, labels = read_pair(case)
    values = [structure.value for structure in preparation.structures]
    target = preparation.grid.labels(labels, values).array
    pixels = [(target == i + 1).sum((1, 2)).tolist() for i in range(len(values))]
    return scan, target, pixels, [int(v) for v in np.unique(labels.array)]


def _masks(case: Case, preparation: Preparation) -> _Parts:
    scan = volumes.read_channels(case.images)
    masks = [preparation.grid.labels(mask, [1]).array[0] for mask in read_masks(case, scan.grid)]
    target = np.stack(masks)
    return scan, target, [[math.ceil(target.sum() / len(masks))]], [0, preparation.structures[0].value]


def _store(array: NDArray, path: Path) -> None:
    """Write one compressed chunk a slice: a random slice costs one small read."""
    blosc2.asarray(
        np.ascontiguousarray(array),
        chunks=(1, *array.shape[1:]),
        urlpath=str(path),
        mode="w",
        cparams={"codec": blosc2.Codec.ZSTD, "clevel": 5, "nthreads": 1},
    )


def _signature(case: Case, preparation: Preparation) -> str:
    paths = [file for path in (*case.images, *case.label_files) for file in volumes.files_of(path)]
    files = [(str(p.resolve()), p.stat().st_size, p.stat().st_mtime_ns) for p in paths]
    settings = {
        "format": _FORMAT,
        "files": files,
        "grid": asdict(preparation.grid),
        "intensity": describe(preparation.intensity),
        "values": [structure.value for structure in preparation.structures],
        **dicom_cases.settings(case),
    }
    if case.masks is not None:
        settings["masks"] = ["apart"] if preparation.apart else [mask.value for mask in case.masks]
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
