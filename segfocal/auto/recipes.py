"""What is worth trying on a data set: a handful of recipes, from its fingerprint, the simplest first."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from segfocal.fingerprint.geometry import Geometry
from segfocal.fingerprint.suggestions import CT_WINDOW, intensity_for

_SMALL, _USUAL = [8, 16, 32, 64, 96], [16, 32, 64, 128, 192]
_PATCH_D, _PATCH = 32, 80  # voxels of a 3-D window: slices, rows and columns
_GROUPS = ("model", "loss", "intensity", "task")  # of which a file is chosen that has options of its own
_THIN_MM = 8.0  # slices thicker than this have nothing to say to a 3-D patch


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A way to train: options by their dotted names (or a group's), and why they are tried."""

    name: str
    options: Mapping[str, Any]
    why: str


def recipes_for(fingerprint: Mapping[str, Any], *, pictures: bool = False, channels: int = 1) -> list[Recipe]:
    """Return what to try, the simplest and quickest first.

    Args:
        fingerprint: of the cases, with a voxel of the target.
        pictures: whether the images are pictures, which have no spacing: two recipes then.
        channels: of the images.

    Raises:
        ValueError: no voxel of any target.
    """
    if pictures:
        grey = {"intensity": "eight_bit"}
        return [
            _recipe("unet", _unet(_SMALL) | grey, "a small U-Net"),
            _recipe("unet_wide", _unet(_USUAL) | grey, "a wider one"),
        ]
    found = _volume_recipes(fingerprint)
    seen = intensity_options(fingerprint, channels)
    return [replace(recipe, options={**recipe.options, **seen}) for recipe in found]


def intensity_options(fingerprint: Mapping[str, Any], channels: int) -> dict[str, Any]:
    """Return how volumes become [0,1]: a CT window that shows the targets, or each scan's own percentiles.

    The window of soft tissue is widened for a target that lies outside it by half or more. One that is cut off in some
    scans, as an artery with contrast agent, is still the brightest there, and what surrounds it keeps its contrast.

    Args:
        fingerprint: with intensities of background and targets; of several channels, the first one's.
        channels: of the images; several are not all CT.
    """
    if channels > 1 or intensity_for(fingerprint) != "ct_soft_tissue":
        return {"intensity": "percentiles"}
    inner = [row["intensities"] for row in fingerprint["structures"].values() if row["voxels"]]
    options: dict[str, Any] = {"intensity": "ct_soft_tissue"}
    if min(row["50"] for row in inner) < CT_WINDOW[0]:
        options["intensity.lower"] = 10.0 * math.floor(min(row["5"] for row in inner) / 10)
    if max(row["50"] for row in inner) > CT_WINDOW[1]:
        options["intensity.upper"] = 10.0 * math.ceil(max(row["95"] for row in inner) / 10)
    return options


def _volume_recipes(fingerprint: Mapping[str, Any]) -> list[Recipe]:
    geometry = Geometry.of(fingerprint)
    coarse, fine = geometry.coarse_mm, geometry.fine_mm
    at_coarse = {"data.spacing_mm": [coarse, coarse], "data.window": geometry.window(coarse, "coarse")}
    at_fine = {"data.spacing_mm": [fine, fine], "data.window": geometry.window(fine, "fine")}
    ground = f"the smallest target is {geometry.across_mm:.0f} mm across, so pixels of {coarse:g} mm show it"
    recipes = [
        _recipe("unet_coarse", _unet(_SMALL) | at_coarse, f"a small U-Net on whole slices; {ground}"),
        _recipe("unet_25d", _unet(_SMALL) | at_coarse | {"data.neighbours": 1}, "the same, and sees both neighbours"),
        _recipe("unet_wide", _unet(_USUAL) | at_coarse, "the same with twice the channels"),
    ]
    if fine < 0.8 * coarse:
        why = f"the small U-Net at {fine:g} mm, in case borders matter more than steps"
        recipes.append(_recipe("unet_fine", _unet(_SMALL) | at_fine, why))
    if geometry.slice_mm <= _THIN_MM:
        recipes.append(_recipe("unet_3d", _unet_3d(geometry), "a 3-D U-Net: sees what lies above and below"))
    return recipes


def _recipe(name: str, options: Mapping[str, Any], why: str) -> Recipe:
    shared: dict[str, Any] = {"loss": "focal+dice", "model.prior": "auto"}
    shared |= {"train.lr": 0.003, "train.batch_size": 8, "train.precision": "fp32"}
    return Recipe(name=name, options={**shared, **options}, why=why)


def _unet(widths: Sequence[int]) -> dict[str, Any]:
    return {"model": "unet", "task": "semantic", "model.widths": list(widths)}


def _unet_3d(geometry: Geometry) -> dict[str, Any]:
    """Return options of 3-D patches with voxels as near to cubes as the slices allow."""
    mm = geometry.coarse_mm
    return {
        **_unet(_SMALL),
        "data.spacing_mm": [round(max(geometry.slice_mm, mm), 2), mm, mm],
        "data.window": [_PATCH_D, _PATCH, _PATCH],
        "train.batch_size": 2,
    }


def overrides(options: Mapping[str, Any], given: Sequence[str]) -> list[str]:
    """Return options as a command line has them, without those that the user has given.

    Who chooses a model or a loss has its further options too, and any option of the intensity is a choice of its kind.

    Args:
        options: by dotted name.
        given: what the user typed, key=value.
    """
    typed = {text.split("=", 1)[0].lstrip("+~") for text in given}
    groups = {name for name in typed if name in _GROUPS} | {
        "intensity" for name in typed if name.startswith("intensity.")
    }
    left = {name: value for name, value in options.items() if name not in typed and name.split(".")[0] not in groups}
    return [f"{name}={_written(value)}" for name, value in left.items()]


def _written(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ",".join(_written(one) for one in value) + "]"
    return "null" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
