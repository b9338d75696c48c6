"""`segfocal prepare`: the training scans made ready ahead of training."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random
from statistics import median
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from segfocal.cli.app import fitting_together, run
from segfocal.cli.data_options import cases_of, grid_of, intensity_of
from segfocal.cli.geometry_options import with_geometry
from segfocal.errors import UserError

if TYPE_CHECKING:
    from segfocal.data.case import Case
    from segfocal.data.store.prepared_case import Preparation, PreparedCase


def main() -> int:
    """Run the command; return its exit code."""
    return run("prepare", prepare)


def prepare(config: DictConfig) -> None:
    """Prepare the training cases of a config, as training would, and print what that took and takes."""
    from segfocal.cluster.cluster_settings import ClusterSettings
    from segfocal.data.store import cache as caches
    from segfocal.data.store.prepare import prepare as prepare_cases
    from segfocal.engine.progress import CaseProgress

    plain: Any = OmegaConf.to_container(with_geometry(config), resolve=True, throw_on_missing=True)
    cache, workers = Path(plain["cache"]), plain["workers"]
    _check(plain)
    cluster = ClusterSettings.of(plain["cluster"], imports=plain["imports"])
    with fitting_together():
        cases, preparation = training_cases(plain)
    before = sum(caches.folder_of(cache, case, preparation).is_dir() for case in cases)
    started = time.perf_counter()
    with CaseProgress() as shown:
        prepared = prepare_cases(cases, preparation, cache, workers=workers, shown=shown, cluster=cluster)
    seconds, size = time.perf_counter() - started, caches.bytes_of(ready.folder for ready in prepared)
    print(
        f"{_counted(len(cases))}: {len(cases) - before} prepared in {seconds:.1f} s, {before} ready before; "
        f"{size / 2**20:.1f} MiB in {cache}"
    )
    print(f"a random slice: {1000 * _seconds_a_read(prepared):.2f} ms (median)")
    _prune(cache, wanted=plain["prune"])


def training_cases(plain: dict[str, Any]) -> tuple[list[Case], Preparation]:
    """Return the training cases of a config and how training prepares them.

    Raises:
        UserError, ValueError: no training case, or options that do not fit together.
    """
    from segfocal.data.label_scheme import OBJECTS
    from segfocal.data.mask_files import with_target
    from segfocal.data.store.prepared_case import Preparation

    data = plain["data"]
    cases, structures = cases_of(plain)
    by_object = structures[0].name == OBJECTS
    cases, structures = with_target(cases, structures, by_object=by_object)
    chosen = cases.of("train")
    if not chosen:
        raise UserError(
            expected="at least one case to train on", found="none", where=data["root"], do="give some the split train"
        )
    preparation = Preparation(
        grid=grid_of(data, cases),
        intensity=intensity_of(plain["intensity"], cases),
        structures=structures,
        by_object=by_object,
        crop=data["crop"],
        components=plain["components"] or bool(data.get("lesions")),
    )
    return chosen, preparation


def _check(plain: dict[str, Any]) -> None:
    if type(plain["workers"]) is not int or plain["workers"] < 1:
        raise UserError(expected="workers ≥ 1", found=f"workers={plain['workers']}", do="change it")
    if not isinstance(plain["components"], bool):
        raise UserError(expected="components true or false", found=repr(plain["components"]), do="change it")


def _prune(cache: Path, *, wanted: bool) -> None:
    from segfocal.data.store import cache as caches

    folders = caches.stale(cache)
    if not folders:
        return
    size = caches.bytes_of(folders) / 2**20
    what = f"{_counted(len(folders), 'stale ')} in {cache}, {size:.1f} MiB, of files that are gone or have changed"
    if wanted:
        caches.remove(folders)
        print(f"removed: {what}")
    else:
        print(f"{what}: prune=true removes them")


def _counted(number: int, kind: str = "") -> str:
    return f"{number} {kind}case{'s' * (number != 1)}"


def _seconds_a_read(prepared: Sequence[PreparedCase], *, reads: int = 200) -> float:
    """Return the median time to read a random slice of a random case, image and target; NaN without any case."""
    rng, took = Random(0), []
    for case in rng.choices(prepared, k=reads) if prepared else []:
        index = rng.randrange(case.shape[0])
        started = time.perf_counter()
        case.slice(index)
        took.append(time.perf_counter() - started)
    return median(took) if took else math.nan
