"""The data of a config: its cases, the structures to segment in them, and the grid on which a model sees them."""

from __future__ import annotations

import hashlib
import math
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from omegaconf import OmegaConf

from segfocal.cli.app import TOLD, conf_folder
from segfocal.memory import available_bytes

if TYPE_CHECKING:
    from segfocal.data.case import CaseList
    from segfocal.data.splits import Splitting
    from segfocal.intensity import Intensity
    from segfocal.io.passed_over import PassedOver
    from segfocal.resample import ModelGrid
    from segfocal.structure import Structure

Number = TypeVar("Number", int, float)

_CACHE = "runs/prepared"  # of commands that prepare nothing: where training keeps folds


def cases_of(plain: dict[str, Any]) -> tuple[CaseList, tuple[Structure, ...]]:
    """Read the cases, each with its part, and choose the structures to segment."""
    from segfocal.data.structures import choose_structures

    cases = listed_cases(plain["data"])
    chosen = choose_structures(plain["target"], cases.label_values, overlap=bool(plain["data"].get("overlap")))
    return split_cases(plain, cases, chosen), chosen


def listed_cases(data: dict[str, Any]) -> CaseList:
    """Read the cases, each in its group, and say what lies there besides and is not read."""
    from segfocal.data.cases import read_cases
    from segfocal.data.splits import grouped

    listed = read_cases(data["root"], label_names=data.get("label_names"), ignore=data.get("ignore"))
    tell_passed_over(listed.passed_over, Path(data["root"]))
    return grouped(listed, data.get("group"))


def tell_passed_over(passed: Sequence[PassedOver], root: Path) -> None:
    """Print a line for each reason for which something was passed over, once in a command, in one of its processes."""
    from segfocal.io import passed_over

    lines = passed_over.lines(passed, root) if os.environ.get("RANK", "0") == "0" else []
    for line in lines:
        if f"{root}: {line}" not in TOLD:
            TOLD.add(f"{root}: {line}")
            print(line, file=sys.stderr)


def split_cases(plain: dict[str, Any], cases: CaseList, structures: Sequence[Structure]) -> CaseList:
    """Give each case its part: as a file says, or drawn and, of folds, written to a file in the cache."""
    from segfocal.data.label_counts import foreground_shares
    from segfocal.data.splits import Splitting, split

    data, cache = plain["data"], Path(plain.get("cache") or _CACHE)
    splitting = Splitting(
        folds=data.get("folds"),
        hold_out=data["hold_out"],
        seed=data["split_seed"],
        stratify=bool(data.get("stratify")),
    )
    file = None if data.get("splits") is None else Path(data["splits"])
    if file is None and splitting.folds is not None:
        file = _splits_file(data, splitting, structures, cache)
    return split(
        cases,
        splitting,
        fold=data.get("fold", 0),
        file=file,
        foreground=lambda chosen: foreground_shares(chosen, structures, cache),
    )


def _splits_file(data: dict[str, Any], splitting: Splitting, structures: Sequence[Structure], cache: Path) -> Path:
    """Return where the folds of a data set are kept, drawn as they are."""
    root = Path(data["root"]).resolve()
    named = [structure.name for structure in structures] if splitting.stratify else None
    drawn = f"{root} {splitting} {data.get('group')} {named}"
    signature = hashlib.sha256(drawn.encode()).hexdigest()[:8]
    return cache / "splits" / f"{root.name}_{splitting.folds}_folds_{signature}.json"


def grid_of(data: dict[str, Any], cases: CaseList) -> ModelGrid:
    """Build the grid on which the model sees a scan; ValueError for a spacing of pictures, which have none."""
    from segfocal.io.png import is_png
    from segfocal.resample import ModelGrid

    spacing: Any = None if data["spacing_mm"] is None else sides(data["spacing_mm"], "data.spacing_mm", float)
    size = None if data.get("size") is None else pair(data["size"], "data.size", int)
    if spacing is not None and any(is_png(case.image) for case in cases.cases):
        raise ValueError(
            f"expected no pixel spacing for PNG images, which have none; got data.spacing_mm={list(spacing)}: set it "
            "to null and choose intensity=eight_bit, or data=sam_med2d for SAM-Med2D's JSON files"
        )
    return ModelGrid(frame=data["frame"], spacing_mm=spacing, size=size)


def neighbours_of(data: dict[str, Any]) -> int:
    """Return how many slices on each side are channels; ValueError for anything but a whole number."""
    from segfocal.data.sampling.dataset import check_neighbours

    check_neighbours(count := data.get("neighbours", 0))
    return int(count)


def intensity_of(config: dict[str, Any], cases: CaseList) -> Intensity:
    """Build the map of intensities of a config, in which each channel's may be a file of conf/intensity by name.

    Raises:
        ValueError: an unknown name or kind, a map for another number of channels.
    """
    from segfocal import intensity

    if "each" in config:
        config = config | {"each": [_intensity_named(one) for one in as_list(config["each"])]}
    built = intensity.build(config)
    intensity.of_channels(built, channels_of(cases))
    return built


def _intensity_named(one: Any) -> Any:
    if not isinstance(one, str):
        return one
    file = conf_folder() / "intensity" / f"{one}.yaml"
    if not file.is_file():
        known = sorted(path.stem for path in file.parent.glob("*.yaml") if path.stem != "per_channel")
        raise ValueError(f"expected intensity.each of {', '.join(known)}; got {one}")
    return OmegaConf.to_container(OmegaConf.load(file))


def as_list(value: Any) -> list[Any]:
    """Return a list as it is, anything else as the only entry of one."""
    return value if isinstance(value, list) else [value]


def channels_of(cases: CaseList) -> int:
    """Return how many channels every case has."""
    return len(cases.cases[0].images)


def sides(value: Any, name: str, kind: Callable[[Any], Number]) -> tuple[Number, ...]:
    """Return a setting for (h, w) or, three numbers, for (d, h, w); one number counts for h and w."""
    if isinstance(value, list) and len(value) == 3:
        _check_numbers(value, 3, name)
        return tuple(kind(side) for side in value)
    return pair(value, name, kind)


def pair(value: Any, name: str, kind: Callable[[Any], Number]) -> tuple[Number, Number]:
    """Return a setting for (h, w); one number counts for both."""
    values = value if isinstance(value, list) else [value, value]
    _check_numbers(values, 2, name)
    return kind(values[0]), kind(values[1])


def check_batch_fits(samples: int, channels: int, window: tuple[int, ...]) -> None:
    """Raise ValueError where even the images and targets of a batch, without a model, need more memory than is free."""
    needed = 4 * samples * (channels + 1) * math.prod(window)
    free = available_bytes()
    if needed > free:
        raise ValueError(
            f"expected a batch of images that fits into the {free / 2**30:.1f} GiB of memory that are free; got "
            f"{samples} samples of {' × '.join(map(str, (channels, *window)))} pixels, {needed / 2**30:.3g} GiB"
        )


def _check_numbers(values: list[Any], count: int, name: str) -> None:
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) and v > 0 for v in values)
    if len(values) != count or not numbers:
        words = "two numbers > 0, [h, w]" if count == 2 else "three numbers > 0, [d, h, w]"
        raise ValueError(f"expected {name} to be {words}; got {values}")
