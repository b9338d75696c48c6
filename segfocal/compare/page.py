"""A comparison of runs written down: tables, plots, and one HTML page that needs no other file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from segfocal.compare.ranking import Setting, dice_grid, ranked, varied
from segfocal.compare.runs import METRICS, RunResult, read_runs
from segfocal.files import claim, make_folder, write_table
from segfocal.report import plots
from segfocal.report.html import Picture, write_page

_HEADLINES = ("dice", "iou", "precision", "recall", "auc", "hd95_mm")
_RESULTS = ("compare.html", "results.csv", "settings.csv", "heatmap.png", "seeds.png", "dice.png")
_MOST_CURVES = 12
_MOST_ROWS = 40


def compare(places: Sequence[Path], output: Path, *, overwrite: bool = False) -> list[Setting]:
    """Write a comparison into `output` and return the settings, best first.

    The files are results.csv, settings.csv, compare.html, and the plots: dice.png by step, heatmap.png of two numeric
    options, seeds.png where settings have several seeds. Those of an earlier comparison are replaced; of other files of
    these names only with overwrite.

    Raises:
        UserError: a place without a run, an output that cannot be written, files there that are no comparison's.
    """
    runs = read_runs(places)
    settings = ranked(runs)
    read = [path for run in runs for path in run.folder.iterdir() if path.is_file()]
    replacing = overwrite or _is_comparison(output)
    claim([output / name for name in _RESULTS], read, overwrite=replacing, switch="--overwrite")
    make_folder(output)
    write_table(output / "results.csv", [_run_row(run, varied(runs)) for run in runs])
    write_table(output / "settings.csv", [_setting_row(setting) for setting in settings])
    _write_page(
        output / "compare.html",
        runs,
        settings,
        _draw(output, settings),
        title=f"Comparison of {places[0].resolve().name}",
    )
    return settings


def _is_comparison(folder: Path) -> bool:
    """Return whether the page of an earlier comparison lies in a folder."""
    page = folder / _RESULTS[0]
    return page.is_file() and b"<title>Comparison of" in page.read_bytes()


def _draw(output: Path, settings: Sequence[Setting]) -> list[Picture]:
    pictures = []
    grid = dice_grid(settings)
    if grid:
        plots.draw_heatmap(output / "heatmap.png", grid)
        pictures.append(Picture(path=output / "heatmap.png", caption=f"Mean Dice by {grid.rows} and {grid.columns}"))
    if any(len(setting.by_seed) > 1 for setting in settings):
        dots = {s.label: list(s.by_seed.values()) for s in settings[:_MOST_ROWS] if s.by_seed}
        xlabel = "Dice on whole held-out volumes: a dot a seed, a bar at the median"
        plots.draw_strips(output / "seeds.png", dots, xlabel=xlabel)
        pictures.append(Picture(path=output / "seeds.png", caption="Dice of every seed"))
    curves = {s.label: _mean_curve(s) for s in settings[:_MOST_CURVES] if any(run.curve for run in s.runs)}
    if curves:
        plots.draw_scores(output / "dice.png", curves)
        few = "" if len(settings) <= _MOST_CURVES else f", the best {_MOST_CURVES} settings"
        pictures.append(Picture(path=output / "dice.png", caption=f"Validation Dice by step{few}"))
    return pictures


def _mean_curve(setting: Setting) -> tuple[list[int], list[float]]:
    by_step: dict[int, list[float]] = {}
    for run in setting.runs:
        for step, dice in run.curve:
            by_step.setdefault(step, []).append(dice)
    return sorted(by_step), [fmean(by_step[step]) for step in sorted(by_step)]


def _run_row(run: RunResult, keys: Sequence[str]) -> dict[str, Any]:
    asked = {key: run.value(key) or "" for key in keys}
    found = {name: run.metrics.get(name, "") for name in METRICS}
    rest = {"seconds": run.seconds, "error": run.error or "", "folder": str(run.folder), "command": run.command}
    return {**asked, "status": run.status, **found, **rest}


def _setting_row(setting: Setting) -> dict[str, Any]:
    row: dict[str, Any] = {**setting.overrides, "runs": sum(run.finished for run in setting.runs)}
    row["dice_by_seed"] = " ".join(f"{seed}:{dice:.4f}" for seed, dice in setting.by_seed.items())
    for name in METRICS:
        mean, sd = setting.metrics.get(name, ("", ""))
        row |= {name: mean, f"{name}_sd": "" if sd is None else sd}
    p = "" if setting.against_best is None else setting.against_best
    return row | {"pairs": setting.pairs, "p_against_best": p}


def _write_page(
    path: Path, runs: Sequence[RunResult], settings: Sequence[Setting], pictures: Sequence[Picture], *, title: str
) -> None:
    values = {
        "title": title,
        "runs": runs,
        "settings": settings,
        "pictures": pictures,
        "keys": varied(runs),
        "shown": _HEADLINES,
        "columns": METRICS,
        "missing": [run for run in runs if not run.finished],
    }
    write_page(path, "compare/page.html.j2", values, filters={"spread": _spread, "number": _number})


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.4g}" if value > 1 else f"{value:.3f}"


def _spread(value: tuple[float, float | None]) -> str:
    mean, sd = value
    return _number(mean) if sd is None else f"{_number(mean)} ± {_number(sd)}"
