"""The data of a config: its cases, the structures to segment in them, and the grid on which a model sees them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from omegaconf import OmegaConf

from segfocal.cli.app import conf_folder

if TYPE_CHECKING:
    from segfocal.batch import Structure
    from segfocal.data.case import CaseList
    from segfocal.intensity import Intensity
    from segfocal.resample import ModelGrid

Number = TypeVar("Number", int, float)


def cases_of(plain: dict[str, Any]) -> tuple[CaseList, tuple[Structure, ...]]:
    """Read the cases, each with its part, and choose the structures to segment."""
    from segfocal.data.structures import choose_structures

    cases = split_cases(plain["data"])
    return cases, choose_structures(plain["target"], cases.label_values)


def split_cases(data: dict[str, Any]) -> CaseList:
    """Read the cases, each with its part."""
    from segfocal.data.cases import hold_out, read_cases

    listed = read_cases(data["root"], label_names=data.get("label_names"))
    return hold_out(listed, share=data["hold_out"], seed=data["split_seed"])


def grid_of(data: dict[str, Any], cases: CaseList) -> ModelGrid:
    """Build the grid on which the model sees a scan; ValueError for a spacing of pictures, which have none."""
    from segfocal.io.png import is_png
    from segfocal.resample import ModelGrid

    spacing = None if data["spacing_mm"] is None else pair(data["spacing_mm"], "data.spacing_mm", float)
    size = None if data.get("size") is None else pair(data["size"], "data.size", int)
    if spacing is not None and any(is_png(case.image) for case in cases.cases):
        raise ValueError(
            f"expected no pixel spacing for PNG images, which have none; got data.spacing_mm={list(spacing)}: set it "
            "to null and choose intensity=eight_bit, or data=sam_med2d for SAM-Med2D's JSON files"
        )
    return ModelGrid(frame=data["frame"], spacing_mm=spacing, size=size)


def neighbours_of(data: dict[str, Any]) -> int:
    """Return how many slices on each side are channels; ValueError for what is no such number."""
    from segfocal.data.loader import check_neighbours

    check_neighbours(count := data.get("neighbours", 0))
    return int(count)


def intensity_of(config: dict[str, Any], cases: CaseList) -> Intensity:
    """Build the map of intensities of a config, in which each channel's may be a file of conf/intensity by name.

    Raises:
        ValueError: a name or kind that is none, a map for another number of channels.
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


def pair(value: Any, name: str, kind: Callable[[Any], Number]) -> tuple[Number, Number]:
    """Return a setting for (h, w); one number counts for both."""
    values = value if isinstance(value, list) else [value, value]
    if len(values) != 2 or not all(isinstance(v, int | float) and not isinstance(v, bool) and v > 0 for v in values):
        raise ValueError(f"expected {name} to be two numbers > 0, [h, w]; got {value}")
    return kind(values[0]), kind(values[1])
