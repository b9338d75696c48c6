"""`segfocal fingerprint`: labelled cases in, what they are like and a sweep worth running out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from segfocal.cli.app import run, shown_path
from segfocal.cli.data_options import intensity_of, listed_cases, split_cases
from segfocal.cli.evaluate import print_table
from segfocal.cli.geometry_options import is_picture
from segfocal.cli.settling import AUTO
from segfocal.errors import UserError
from segfocal.plain_text import visible

if TYPE_CHECKING:
    from segfocal.data.case import Case, CaseList
    from segfocal.fingerprint.measure import CaseStatistics, MeasureOptions
    from segfocal.structure import Structure


def main() -> int:
    """Run the command; return its exit code."""
    return run("fingerprint", fingerprint)


def fingerprint(config: DictConfig) -> None:
    """Measure the cases of a config, print tables, write the results and say where they are.

    Raises:
        UserError: cases that cannot be read, options out of range, results that lie there already.
    """
    from hydra.core.hydra_config import HydraConfig

    from segfocal.data.cases import files_read
    from segfocal.fingerprint.page import DataChoice, check_folder, write
    from segfocal.fingerprint.suggestions import suggest
    from segfocal.fingerprint.summary import summarise
    from segfocal.io import passed_over

    plain: Any = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    _check(plain)
    folder = Path(plain["output"])
    check_folder(folder, overwrite=plain["overwrite"])
    listed, options = _asked(plain)
    cases, data = listed.cases, _with_spacing(plain["data"], listed)
    read = files_read(cases, data["root"], data.get("label_names"), data.get("splits"))
    check_folder(folder, read, overwrite=plain["overwrite"])
    measured = list(_shown(_measured(cases, options, plain), total=len(cases)))
    _refuse_unreadable(measured, plain["data"]["root"])
    found = summarise(measured)
    try:
        suggestions = suggest(found, data)
    except ValueError as error:
        raise UserError(
            expected="voxels of a target", found=str(error), where=plain["data"]["root"], do="change target or split"
        ) from error
    root = Path(plain["data"]["root"]).resolve()
    about = {
        "data": str(root),
        "split": plain["split"],
        "target": _target(plain["target"], found),
        "far_mm": plain["far_mm"],
        "intensity": plain["intensity"],
        "passed_over": passed_over.rows(listed.passed_over, Path(plain["data"]["root"])),
    }
    data = data | {"root": str(root)}
    if isinstance(data.get("label_names"), str):
        data["label_names"] = str(Path(data["label_names"]).absolute())
    choice = DataChoice(HydraConfig.get().runtime.choices["data"], data)
    command = write(found, suggestions, folder, about=about, data=choice)
    _print(found, suggestions)
    print(f"page:  {shown_path(folder.resolve() / 'fingerprint.html')}")
    print(f"sweep: {command}")


def _measured(cases: Sequence[Case], options: MeasureOptions, plain: dict[str, Any]) -> Iterator[CaseStatistics]:
    from segfocal.cluster.cluster_settings import ClusterSettings
    from segfocal.fingerprint.measure import measure_cases

    cluster = ClusterSettings.of(plain["cluster"], imports=plain["imports"])
    return measure_cases(cases, options, workers=plain["workers"], cluster=cluster)


def _check(plain: dict[str, Any]) -> None:
    from segfocal.data.case import SPLITS

    rules = {
        "split": (f"of all, {', '.join(SPLITS)}", plain["split"] in ("all", *SPLITS)),
        "far_mm": ("≥ 0", plain["far_mm"] >= 0),
    }
    for name, (rule, holds) in rules.items():
        if not holds:
            raise UserError(expected=f"{name} {rule}", found=f"{name}={plain[name]}", do="change that option")


def _asked(plain: dict[str, Any]) -> tuple[CaseList, MeasureOptions]:
    """Return the cases to measure, with what was passed over, and how."""
    from segfocal.data.mask_files import with_target
    from segfocal.fingerprint.measure import MeasureOptions
    from segfocal.grid import check_frame

    split, root = plain["split"], plain["data"]["root"]
    listed = listed_cases(plain["data"])
    structures = _structures(plain["target"], listed, plain["data"])
    listed, structures = with_target(split_cases(plain, listed, structures), structures, by_object=False)
    cases = listed.cases if split == "all" else listed.of(split)
    if not cases:
        raise UserError(expected=f"cases of the split {split}", found="none", where=root, do="choose another split")
    try:
        seen, frame = intensity_of(plain["intensity"], listed), check_frame(plain["data"]["frame"])
    except (ValueError, TypeError) as error:
        raise UserError(expected="a config that fits together", found=str(error), do="change that option") from error
    options = MeasureOptions(structures=structures, frame=frame, intensity=seen, far_mm=float(plain["far_mm"]))
    return replace(listed, cases=tuple(cases)), options


def _with_spacing(data: dict[str, Any], listed: CaseList) -> dict[str, Any]:
    """Return the options of the data, those of pictures without a spacing where it was left to the data."""
    pictures = data["spacing_mm"] == AUTO and is_picture(listed.cases)
    return data | {"spacing_mm": None} if pictures else data


def _target(asked: Any, found: dict[str, Any]) -> Any:
    """Return the target of a sweep, as it was asked for, without structures that have no voxel."""
    voxels = [row["voxels"] for row in found["structures"].values()]
    items = list(found["structures"]) if asked is None else asked if isinstance(asked, list) else [asked]
    present = [item for item, count in zip(items, voxels, strict=True) if count] if len(items) == len(voxels) else items
    return present if len(present) > 1 else present[0]


def _structures(target: Any, cases: CaseList, data: dict[str, Any]) -> tuple[Structure, ...]:
    from segfocal.data.label_scheme import OBJECTS
    from segfocal.data.structures import choose_structures

    names = [name for name, value in cases.label_values.items() if value > 0 and name != OBJECTS]
    if target is None and not names:
        raise UserError(
            expected="target=1, or data.label_names",
            found="target=null, and a data set that names no structures",
            where=data["root"],
            do="say which label values to measure",
        )
    overlap = bool(data.get("overlap"))
    return choose_structures(names if target is None else target, cases.label_values, overlap=overlap)


def _shown(measured: Iterator[CaseStatistics], *, total: int) -> Iterator[CaseStatistics]:
    from segfocal.engine.progress import StepProgress

    with StepProgress(total=total, done=0, noun="case") as progress:
        for done, case in enumerate(measured, start=1):
            progress.step(done, f"{case.name} read")
            yield case


def _refuse_unreadable(measured: Sequence[CaseStatistics], root: str) -> None:
    """Raise UserError where a case could not be read: shares of the rest would be those of another data set."""
    bad = [case for case in measured if case.problem]
    if bad:
        raise UserError(
            expected="every case readable",
            found=f"{len(bad)} that are not; {bad[0].name}: {bad[0].problem}",
            where=root,
            do="segfocal doctor names them all and mends what can be mended",
        )


def _print(found: dict[str, Any], suggestions: Sequence[Any]) -> None:
    rows = [
        {
            "structure": name,
            "cases": row["cases"],
            "% of voxels": f"{100 * row['voxel_share']:.4f}",
            "% of slices": f"{100 * row['slice_share']:.1f}",
            "components": row["components"],
            "smallest, median, largest mm³": ", ".join(f"{size:,.0f}" for size in row["component_mm3"].values()),
            "5th, 50th, 95th percentile": ", ".join(f"{row['intensities'][p]:g}" for p in ("5", "50", "95")),
        }
        for name, row in found["structures"].items()
        if row["voxels"]
    ]
    print_table(rows)
    background = found["background"]
    shares = {name: f"{background[f'{name}_share']:.1%}" for name in ("easy", "blank", "far")}
    print(f"background: {100 * background['share']:.3f} % of {found['voxels']:,} voxels")
    print(f"of it {shares['easy']} is easy: {shares['blank']} blank, {shares['far']} far from every target")
    absent = [name for name, row in found["structures"].items() if not row["voxels"]]
    if absent:
        more = f" and {len(absent) - 8} more" if len(absent) > 8 else ""
        print(visible(f"no voxel of {', '.join(absent[:8])}{more}: left out of the sweep"))
    spacing, shape = (" × ".join(f"{v:g}" for v in found[name]["median"]) for name in ("spacing_mm", "shape"))
    print(f"median spacing {spacing} mm, median shape {shape}, orientation {', '.join(found['orientations'])}")
    print()
    for one in suggestions:
        print(visible(f"{one.option}={one.value}{' (each)' if one.swept else ''}: {one.why}"))
