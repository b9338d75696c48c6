"""What an evaluation leaves in its folder: tables, JSON, pictures and the page."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import segfocal
from segfocal.errors import UserError
from segfocal.evaluate.case_metrics import Judged, Row, Settings, report_beside, united
from segfocal.evaluate.page import Page, Worst, write_evaluation_page
from segfocal.evaluate.pairing import CaseFiles
from segfocal.evaluate.summary import contrast, json_of, summarise
from segfocal.files import make_folder, write_json, written_beside
from segfocal.grid import Volume
from segfocal.inference import bundle as bundles
from segfocal.intensity import Intensity, Percentiles
from segfocal.io import volumes
from segfocal.report import case_picture
from segfocal.report.plots import strips

TABLE, SUMMARY, FACTS, PAGE = "metrics.csv", "summary.csv", "metrics.json", "report.html"
SECOND, CONTRASTS = "metrics_against.csv", "comparison.csv"
RESULTS = (TABLE, SUMMARY, FACTS, PAGE, SECOND, CONTRASTS)
_FRAME = "SPL"  # pictures show axial slices as radiologists do
_WINDOW = Percentiles(low=5, high=99.5)
_FEWEST_DOTS = 3  # of a distribution worth drawing


def write_results(
    folder: Path,
    judged: Sequence[Judged],
    *,
    settings: Settings,
    title: str,
    against: str | None,
    unmatched: Sequence[str],
    many: bool,
    pictures: int,
) -> None:
    """Write every result of cases that were judged into a folder that exists.

    title, against: what the predictions are called. unmatched: predictions without a reference. many: whether the
    worst cases are to be shown, `pictures` of them, or the one there is.
    """
    rows = [row for case in judged for row in case.rows]
    others = [row for case in judged for row in case.against]
    lines, contrasts = summarise(rows), contrast(rows, others) if against else []
    shown = [] if many else _only(folder, judged[0])  # a wrong image of one case is told before anything is written
    _write_table(folder / TABLE, rows)
    _write_table(folder / SUMMARY, [line.row() for line in lines] or [{"structure": "", "cases": 0}])
    for name, table in ((SECOND, others), (CONTRASTS, [each.row() for each in contrasts])):
        if table:
            _write_table(folder / name, table)
        else:
            (folder / name).unlink(missing_ok=True)  # of an evaluation that this one replaces
    facts: dict[str, Any] = {"segfocal": segfocal.__version__, "prediction": title, "against": against}
    facts |= {"figures": list(settings.groups), "tolerance_mm": settings.tolerance_mm}
    facts |= {"structures": json_of(lines), "comparison": [each.row() for each in contrasts], "cases": rows}
    write_json(folder / FACTS, {**facts, "predictions_without_reference": list(unmatched)})
    page = Page(
        title=title,
        against=against,
        rows=rows,
        lines=lines,
        contrasts=contrasts,
        worst=_worst(folder, judged, pictures) if many else shown,
        strips=_strips(folder, rows),
        unmatched=unmatched,
        settings=settings,
        files=[name for name in RESULTS if name != PAGE and (folder / name).is_file()],
    )
    write_evaluation_page(page, folder / PAGE)


def _write_table(path: Path, rows: Sequence[Row]) -> None:
    """Write rows as CSV with the columns of the longest; of a failed case most stay empty."""
    _, longest = max((len(row), index) for index, row in enumerate(rows))
    columns = list(rows[longest])
    with written_beside(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)


def _strips(folder: Path, rows: Sequence[Row]) -> Path | None:
    """Draw Dice over cases for each structure where there are enough to see."""
    values: dict[str, list[float]] = {}
    for row in rows:
        if row["status"] != "failed":
            values.setdefault(row["structure"], []).append(row["dice"])
    if max(map(len, values.values()), default=0) < _FEWEST_DOTS:
        return None
    strips(folder / "dice.png", values, xlabel="Dice of each case; the bar is the median")
    return folder / "dice.png"


def _only(folder: Path, case: Judged) -> list[Worst]:
    """Draw the slices of a single case where its first structure is largest, if its scan is at hand."""
    row = case.rows[0]
    scan, window = _scan(case.files)
    if scan is None or case.files.prediction is None:
        return []
    path = folder / "overlay.png"
    case_picture.draw(
        path,
        scan=scan,
        reference=united(volumes.read_labels(case.files.reference), case.unions),
        prediction=volumes.read_labels(case.files.prediction),
        value=row["label"],
        intensity=window,
        frame=_FRAME,
        heading=f"{case.files.prediction.name}: {row['structure']}, Dice {row['dice']:.3f}",
    )
    return [Worst(row=row, files=case.files, picture=path)]


def _worst(folder: Path, judged: Sequence[Judged], most: int) -> list[Worst]:
    """Draw the structures with the lowest Dice, the largest of equal ones first, where most of them is wrong."""
    drawn = ("ok", "missed", "false_alarm")
    found = [(row, case) for case in judged for row in case.rows if row["status"] in drawn]
    found.sort(key=lambda each: (each[0]["dice"], -each[0]["reference_ml"], -each[0]["prediction_ml"]))
    shown = []
    for row, case in found[:most]:
        files = case.files
        assert files.prediction is not None
        path = folder / "overlays" / f"{_safe(row['case'])}_{_safe(row['structure'])}.png"
        make_folder(path.parent)
        try:
            scan, window = _scan(files)
        except (UserError, OSError):  # the outlines alone still show what is wrong
            scan, window = None, _WINDOW
        case_picture.draw_errors(
            path,
            scan=scan,
            reference=united(volumes.read_labels(files.reference), case.unions),
            prediction=volumes.read_labels(files.prediction),
            value=row["label"],
            intensity=window,
            frame=_FRAME,
            heading=f"{row['case']}: {row['structure']}, Dice {row['dice']:.3f}",
        )
        shown.append(Worst(row=row, files=files, picture=path))
    return shown


def _safe(name: str) -> str:
    return re.sub(r"[^\w.-]+", "_", name)


def _scan(files: CaseFiles) -> tuple[Volume | None, Intensity]:
    """Return the scan of a case and how to show it: through its bundle's window if that can be had.

    Raises:
        UserError: the scan that was named is missing or lies on another grid. One known from a report only is passed
            over then.
    """
    report = report_beside(files.prediction)
    image = files.image or (Path(report["input"]) if "input" in report else None)
    bundle = report.get("bundle")
    first = bundle[0] if isinstance(bundle, list) else bundle
    window = bundles.read_intensity(Path(first)) if first else None
    if image is None or (files.image is None and not image.is_file()):
        return None, window or _WINDOW
    scan = volumes.read(image)
    difference = volumes.read_grid(files.reference).difference(scan.grid)
    if difference and files.image is not None:
        raise UserError(
            expected="a scan on the grid of the reference", found=difference, where=image, do="give the right image"
        )
    return None if difference else scan, window or _WINDOW
