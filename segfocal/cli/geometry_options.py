"""`data.spacing_mm=auto` and `data.window=auto` made numbers, once, before anything is built from them."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from segfocal.cli.data_options import listed_cases, pair
from segfocal.cli.settling import AUTO, STAND_INS, is_auto, with_stand_ins
from segfocal.errors import UserError
from segfocal.plain_text import visible

if TYPE_CHECKING:
    from segfocal.data.case import Case, CaseList
    from segfocal.fingerprint.geometry import Medians
    from segfocal.structure import Structure

_SHOWN = {"spacing_mm": "data.spacing_mm=", "window": "data.window="}
_KNOWN = dict[str, "Medians | None"]()  # measured in this process, for the jobs of a sweep


def with_geometry(config: DictConfig, *, resumes: Path | None = None, quiet: bool = False) -> DictConfig:
    """Return a config with numbers for a spacing and window that were left to the data, and say which and why.

    They follow from labels and headers of all cases but those to test on, whatever the fold, and from the model.

    Args:
        config: of a command that sees cases as a model does.
        resumes: a run directory to go on in, if it holds a run: its numbers are taken.
        quiet: say nothing.
    """
    wanted = [key for key in STAND_INS if is_auto(config, key)]
    if not wanted:
        return config
    chosen, why = _of_run(resumes) or _measured(config)
    changed = config.copy()
    for key in wanted:
        OmegaConf.update(changed, f"data.{key}", chosen[key])
    if not quiet and os.environ.get("RANK", "0") == "0":
        _tell(wanted, chosen, why)
    return changed


def is_picture(cases: Sequence[Case]) -> bool:
    """Return whether any of the cases is a picture, which has no spacing."""
    from segfocal.io.png import is_png

    return any(is_png(case.image) for case in cases)


def run_to_resume(resume: Any, folder: Path) -> Path | None:
    """Return the run directory that the option resume names, `folder` for auto; None where it goes on with nothing."""
    from segfocal.engine.checkpoint import candidates

    if not resume:
        return None
    place = folder if resume == AUTO else Path(str(resume))
    found = candidates(place)
    return found[0].resolve().parents[1] if found else place


def _of_run(folder: Path | None) -> tuple[Mapping[str, Any], str] | None:
    from segfocal.foreign.door import read_yaml

    file = None if folder is None else folder / "config.yaml"
    if file is None or not file.is_file():
        return None
    try:
        data = (read_yaml(file) or {}).get("data") or {}
    except (UserError, AttributeError):  # told by whoever compares the options
        return None
    if any(key not in data or data[key] == AUTO for key in STAND_INS):
        return None
    return data, "those of the run to go on with"


def _measured(config: DictConfig) -> tuple[Mapping[str, Any], str]:
    plain: Any = OmegaConf.to_container(with_stand_ins(config), resolve=True)
    try:
        cases, structures = _cases_and_target(plain)
    except (UserError, ValueError):  # told by the command, which reads the same
        return STAND_INS, ""
    given = {key: None if is_auto(config, key) else [plain["data"][key]] for key in STAND_INS}
    own = _of_model(config)
    medians = _medians(cases, structures, plain["data"])
    spacing, why = _spacing(plain["data"], given["spacing_mm"], own, cases=cases, medians=medians)
    window = _window(plain, spacing, own, medians=medians) if given["window"] is None else given["window"][0]
    return {"spacing_mm": spacing, "window": window}, why


def _cases_and_target(plain: Mapping[str, Any]) -> tuple[list[Case], Sequence[Structure]]:
    """Return the cases to measure, all but those to test on, and the structures with their values."""
    from segfocal.data.mask_files import with_target
    from segfocal.data.structures import choose_structures

    listed: CaseList = listed_cases(plain["data"])
    overlap = bool(plain["data"].get("overlap"))
    structures = choose_structures(plain["target"], listed.label_values, overlap=overlap)
    listed, structures = with_target(listed, structures, by_object=False)
    return [case for case in listed.cases if case.split != "test"] or list(listed.cases), structures


def _medians(cases: Sequence[Case], structures: Sequence[Structure], data: Mapping[str, Any]) -> Medians | None:
    from segfocal.fingerprint.geometry import measure_medians

    states = [(str(path), path.stat().st_mtime_ns) for case in cases for path in (case.image, *case.label_files)]
    key = f"{states} {structures} {data['frame']}"
    if key not in _KNOWN:
        _KNOWN[key] = measure_medians(cases, structures, data["frame"])
    return _KNOWN[key]


def _of_model(config: DictConfig) -> Mapping[str, Any]:
    """Return the window, and perhaps spacing, that a model or the bundle it starts from has; nothing of most."""
    from segfocal.inference.bundle import FILES
    from segfocal.inference.bundle_facts import read_facts

    model = config.get("model")
    if model is None:
        return {}
    size = OmegaConf.to_container(model, resolve=False).get("image_size")  # type: ignore[union-attr]
    if isinstance(size, int):
        return {"window": [size, size]}
    weights = model.get("weights")
    facts = Path(os.path.expanduser(str(weights))) / FILES[1]
    if not weights or not facts.is_file():
        return {}
    try:
        read = read_facts(facts)
    except UserError:  # told by whoever loads it
        return {}
    return {key: list(read[key]) for key in STAND_INS if read[key] is not None}


def _spacing(
    data: Mapping[str, Any],
    given: list[Any] | None,
    own: Mapping[str, Any],
    *,
    cases: Sequence[Case],
    medians: Medians | None,
) -> tuple[Any, str]:
    """Return the spacing and why it is that.

    Args:
        data: options.
        given: the spacing in a list, if the user has given one.
        own: of the model.
        cases: that were listed.
        medians: of them.
    """
    from segfocal.fingerprint.geometry import Geometry

    if given is not None:
        return given[0], "as large as a slice, if that is not too large"
    if is_picture(cases) or data.get("size") is not None:
        return None, "pictures have no spacing" if data.get("size") is None else "data.size says how large slices are"
    if medians is None or not medians.components_mm3:
        found = "no label could be read" if medians is None else f"no voxel of the target in {medians.cases} labels"
        return STAND_INS["spacing_mm"], found
    geometry = Geometry.from_medians(medians)
    if "spacing_mm" in own:
        return own["spacing_mm"], "those of the bundle that it starts from"
    if "window" in own:
        filling = max(body / side for body, side in zip(geometry.body_mm, own["window"][-2:], strict=True))
        mm = round(max(*geometry.pixel_mm, filling), 2)
        return [mm, mm], "the model has this window, which a slice fills unless its pixels are larger"
    mm = geometry.coarse_mm
    return [mm, mm], f"the median component of {geometry.smallest} is {geometry.across_mm:.0f} mm across"


def _window(plain: Mapping[str, Any], spacing: Any, own: Mapping[str, Any], *, medians: Medians | None) -> list[int]:
    from segfocal.fingerprint.geometry import SIDE, Geometry, window_of

    if "window" in own:
        return list(own["window"])
    data, model = plain["data"], plain.get("model") or {"image_size": None}
    if data.get("size") is not None:
        return list(pair(data["size"], "data.size", int))
    if medians is None or (spacing is not None and not medians.components_mm3):
        return STAND_INS["window"]
    widths = model.get("widths")
    multiple = max(SIDE, 2 ** (len(widths) - 1)) if isinstance(widths, list) and len(widths) < 10 else SIDE
    pixels, kind = list(medians.shape[-2:]), "own"
    if spacing is not None:
        mm = pair(spacing[-2:] if isinstance(spacing, list) else spacing, "data.spacing_mm", float)
        pixels = [n * now / new for n, now, new in zip(pixels, medians.spacing_mm[-2:], mm, strict=True)]
        kind = "fine" if max(mm) < Geometry.from_medians(medians).coarse_mm else "coarse"
    sides = window_of(pixels, kind, multiple=multiple)
    return [max(sides)] * 2 if "image_size" in model else sides


def _tell(wanted: Sequence[str], chosen: Mapping[str, Any], why: str) -> None:
    if not why:
        return
    spacing, window = chosen["spacing_mm"], chosen["window"]
    said = []
    if "spacing_mm" in wanted:
        numbers = spacing if isinstance(spacing, list) else [spacing]
        each = "×".join(f"{mm:g}" for mm in (numbers[:1] if len(set(numbers)) == 1 else numbers) if mm is not None)
        said.append(f"pixels of {each} mm" if each else "pixels as they are")
    if "window" in wanted:
        said.append(f"windows of {'×'.join(map(str, window if isinstance(window, list) else [window] * 2))}")
    others = ", ".join(_SHOWN[key] for key in wanted)
    choose = "choose others" if len(wanted) > 1 else "chooses another"
    print(visible(f"{', '.join(said)}: {why}; {others} {choose}", lines=False), flush=True, file=sys.stdout)
