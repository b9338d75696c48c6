"""Preparing cases: each scan and its label read, put on the model's grid, normalised and stored slice by slice.

Where prepared cases lie, and why a killed run does no harm: `segfocal.data.store.cache`.
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import blosc2
import numpy as np
import torch
from numpy.typing import NDArray

from segfocal.cluster.cluster_settings import HERE, ClusterSettings
from segfocal.cluster.in_order import results_in_order
from segfocal.data.case import Case
from segfocal.data.dicom_labels import label_grid, read_label
from segfocal.data.mask_files import check_size, label_map, on_image, read_masks
from segfocal.data.store.cache import FORMAT, META, files_of, folder_of, workplace
from segfocal.data.store.foreground_index import cropped, index
from segfocal.data.store.prepared_case import LOCATIONS, Preparation, PreparedCase
from segfocal.data.store.stored_components import number_components
from segfocal.errors import UserError
from segfocal.files import make_folder, write_json
from segfocal.grid import Grid, Volume
from segfocal.intensity import of_channels
from segfocal.intensity_statistics import percentiles_of
from segfocal.io import nifti, volumes

Shown = Callable[[int, int, str], None]  # cases done, cases to do, a text

_BYTES_A_VOXEL = 1.0  # on disk, of an image of one channel and its target: CT takes half of that, noisy MR all of it
_MOST_NAMED = 10  # problems listed in one message
_LOOKED_AT = 200_000  # voxels of a channel for its percentiles: 1000 of them are beyond the last


def prepare(
    cases: Sequence[Case],
    preparation: Preparation,
    cache: Path,
    *,
    workers: int = 1,
    shown: Shown = lambda done, total, text: None,
    cluster: ClusterSettings = HERE,
) -> list[PreparedCase]:
    """Return the prepared slices of cases, preparing those that `cache` does not hold yet.

    A case that cannot be prepared does not stop the others; the error at the end names each.

    Args:
        cases: to prepare, in this order.
        preparation: how.
        cache: the folder of prepared cases.
        workers: threads, a case each: what takes time (inflating, resampling, compressing) leaves Python's lock.
        shown: called before the first case with what they will take, then after each with its name.
        cluster: whose workers prepare in place of threads of this process; the cache is a folder that all machines see.

    Raises:
        UserError: an unreadable file, image and label on different grids, a cache that cannot be written, a disk with
            less room than the cases will take.
    """
    if workers < 1:
        raise ValueError(f"expected workers ≥ 1; got {workers}")
    # The caller's structures count: a case of which no target was chosen has none of its own.
    cases = [replace(case, scheme=replace(case.scheme, structures=preparation.structures)) for case in cases]
    prepared = [PreparedCase(case.name, folder_of(cache, case, preparation), case.scheme) for case in cases]
    missing = [(case, ready.folder) for case, ready in zip(cases, prepared, strict=True) if not ready.folder.is_dir()]
    if missing:
        make_folder(cache)
        needed, free = _estimated_bytes([case for case, _ in missing], preparation), shutil.disk_usage(cache).free
        if needed > free:
            raise _Full(f"room for about {_gib(needed)} of prepared slices", f"{_gib(free)} free", cache)
        shown(0, len(missing), f"about {_gib(needed)} in {cache}, where {_gib(free)} are free")
        with workplace(cache) as place:
            todo = [(case, preparation, place / folder.name, folder) for case, folder in missing]
            _watch(_outcomes(todo, min(workers, len(todo)), cluster), len(missing), shown)
    return prepared


def _estimated_bytes(cases: Iterable[Case], preparation: Preparation) -> int:
    """Return roughly what cases will take on disk, from the headers of their images alone."""
    needed = 0.0
    for case in cases:
        try:
            voxels = math.prod(preparation.grid.of(volumes.read_grid(case.image)).shape)
        except UserError:  # raised again when it is prepared
            continue
        needed += voxels * _BYTES_A_VOXEL * (2 * len(case.images) + 1) / 3
    return round(needed)


def _gib(size: float) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"


class _Full(UserError):
    """A disk without room: the other cases would fail alike."""

    def __init__(self, expected: str, found: str, where: Path) -> None:
        do = "free some space, or set cache to another folder"
        super().__init__(expected=expected, found=found, where=where, do=do)


def _watch(outcomes: _Outcomes, count: int, shown: Shown) -> None:
    """Show each case as it is done; UserError at the end that names those that could not be."""
    problems: list[UserError] = []
    with closing(outcomes):
        for done, (case, problem) in enumerate(outcomes, start=1):
            problems += [problem] if problem else []
            shown(done, count, f"{case.name}: {problem}" if problem else case.name)
    if len(problems) == 1:
        raise problems[0]
    if problems:
        listed = [str(problem) for problem in problems[:_MOST_NAMED]]
        more = [f"and {len(problems) - _MOST_NAMED} more"] if len(problems) > _MOST_NAMED else []
        raise UserError(
            expected="cases that can be prepared",
            found="\n  ".join([f"{len(problems)} that cannot:", *listed, *more]) + "\n",
            do="mend them, or take them off the list; the other cases are prepared",
        )


_Work = tuple[Case, Preparation, Path, Path]  # a case, how, where it is made, where it goes
_Outcomes = Generator[tuple[Case, UserError | None], None, None]


def _outcomes(todo: Sequence[_Work], workers: int, cluster: ClusterSettings) -> _Outcomes:
    """Yield each case once it is done, with the problem of one that cannot be prepared."""
    if cluster.kind != "none":
        folders = [todo[0][2].parent, todo[0][0].image.parent]
        problems = results_in_order(cluster, _attempt, todo, failed=_unprepared, folders=folders)
        yield from ((work[0], problem) for work, problem in zip(todo, problems, strict=True))
        return
    if workers == 1:
        yield from ((work[0], _attempt(work)) for work in todo)
        return
    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,))
    try:
        running = {pool.submit(_attempt, work): work[0] for work in todo}
        for future in as_completed(running):
            yield running[future], future.result()
    finally:
        pool.shutdown(cancel_futures=True)  # what has begun ends: its folder must not vanish under it
        torch.set_num_threads(threads)


def _unprepared(work: _Work, why: str) -> UserError:
    return UserError(expected=f"{work[0].name} prepared", found=why, do="mend that; the other cases are prepared")


def _attempt(work: _Work) -> UserError | None:
    try:
        _prepare_one(*work)
    except _Full:
        raise
    except UserError as problem:
        return problem
    return None


def check_pairs(cases: Iterable[Case]) -> None:
    """Raise UserError unless each image and its label have headers that agree; voxels are not read."""
    for case in cases:
        grids = [volumes.read_grid(path) for path in case.images]
        volumes.check_channels(grids, case.images)
        image = grids[0]
        for path in case.label_files:
            check_size(case, image, label_grid(case, image, path), path)


def read_pair(case: Case) -> tuple[Volume, Volume]:
    """Read a case's image, as it is stored, and label map; UserError when they do not lie on one grid."""
    image = volumes.read_channels(case.images)
    return image, read_labels(case, image.grid)


def read_labels(case: Case, image: Grid) -> Volume:
    """Read a case's label map on the grid of its image; UserError when it does not lie on it."""
    if case.masks is not None:
        return label_map(case, image)
    labels = read_label(case, image)
    nifti.check_label_map(labels, case.label)
    labels = on_image(case, image, labels, case.label)
    return replace(labels, array=case.scheme.read(labels.array))


def _prepare_one(case: Case, preparation: Preparation, temporary: Path, folder: Path) -> None:
    read = _read(case, preparation)
    image, target, offset = read.image, read.target, (0, 0, 0)
    if preparation.crop == "body":
        image, target, offset = cropped(image, target)
    scheme = case.scheme
    pixels, locations = index(target, scheme)
    if preparation.by_object:  # [1,1]: those of a mask on average; locations in masks are none in slices
        locations, pixels = [], np.array([[math.ceil(np.count_nonzero(target) / len(target))]])
    meta = {
        "format": FORMAT,
        "case": case.name,
        "files": files_of(case),
        "shape": [len(image), *image.shape[-2:]],
        "channels": len(case.images),
        "offset": list(offset),
        "label_values": read.label_values,
        "percentiles": read.percentiles,
        "spacing_mm": read.spacing_mm,
        "pixels": pixels.tolist(),
        "coding": {  # which earlier versions read
            "structures": len(scheme.structures),
            "overlapping": scheme.overlapping,
            "ignoring": scheme.ignored is not None,
        },
    }
    try:
        temporary.mkdir()
        _store(torch.from_numpy(image).half().numpy(), temporary / "image.b2nd")
        _store(target, temporary / "target.b2nd")
        if locations:
            np.savez(temporary / LOCATIONS, *locations)
        if preparation.components:
            numbers, lesions = number_components(target, scheme, math.prod(read.spacing_mm), where=case.label)
            _store(numbers, temporary / "components.b2nd")
            lesions.write(temporary)
        write_json(temporary / META, meta)
        os.replace(temporary, folder)
    except (OSError, RuntimeError) as error:  # blosc2 raises RuntimeError where a disk is full
        if not folder.is_dir():  # another run may have finished the same case first
            raise _Full("room to prepare the slices of a case", str(error), folder.parent) from error


def _image(scan: Volume, preparation: Preparation) -> NDArray[np.float32]:
    """Return what a model sees of a scan: [d,h,w], or [d,c,h,w] of several channels."""
    channels = scan.channels()
    maps = of_channels(preparation.intensity, len(channels))
    seen = [own(preparation.grid.image(one).array) for one, own in zip(channels, maps, strict=True)]
    return seen[0] if len(seen) == 1 else np.stack(seen, axis=1)


class _Read(NamedTuple):
    """Image as a model sees it, target (of a picture by object its masks [n,h,w], else codes [d,h,w]), and their facts.

    percentiles are those of each channel's values as they are stored in its file, spacing_mm those of the model's grid.
    """

    image: NDArray[np.float32]
    target: NDArray[np.unsignedinteger]
    label_values: list[int]
    percentiles: list[list[float] | None]
    spacing_mm: tuple[float, float, float]


def _read(case: Case, preparation: Preparation) -> _Read:
    if not preparation.by_object:
        scan, labels = read_pair(case)
        target = case.scheme.encoded(labels, preparation.grid)
        spacing_mm = preparation.grid.of(scan.grid).spacing_mm
        return _Read(_image(scan, preparation), target, _values(labels.array), _percentiles(scan), spacing_mm)
    scan = volumes.read_channels(case.images)
    masks = [preparation.grid.labels(mask, [1]).array[0] for mask in read_masks(case, scan.grid)]
    values = [0, preparation.structures[0].value]
    spacing_mm = preparation.grid.of(scan.grid).spacing_mm
    return _Read(_image(scan, preparation), np.stack(masks), values, _percentiles(scan), spacing_mm)


def _percentiles(scan: Volume) -> list[list[float] | None]:
    return [percentiles_of(channel.array, most=_LOOKED_AT) for channel in scan.channels()]


def _values(labels: NDArray) -> list[int]:
    """Return the sorted values of a label map: those at which one run of equal voxels ends and another begins.

    Sorting all voxels would take as long as reading them.
    """
    flat = labels.ravel(order="K")
    begins = flat[1:][flat[1:] != flat[:-1]]
    return [int(value) for value in np.unique(np.append(begins, flat[:1]))]


def _store(array: NDArray, path: Path) -> None:
    """Write one compressed chunk a slice: a random slice costs one small read.

    ZSTD at 1 makes files of CT 3 % larger than at 5, in a sixth of the time.
    """
    blosc2.asarray(
        np.ascontiguousarray(array),
        chunks=(1, *array.shape[1:]),
        urlpath=str(path),
        mode="w",
        cparams={"codec": blosc2.Codec.ZSTD, "clevel": 1, "nthreads": 1},
    )
