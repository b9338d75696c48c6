"""The pictures of an evaluation: the scan with both outlines, of the one case or of the worst structures of many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segfocal.errors import UserError, noted
from segfocal.evaluate.case_masks import with_unions, with_value
from segfocal.evaluate.case_metrics import CaseMetrics
from segfocal.evaluate.judge import JudgedCase
from segfocal.evaluate.lesion_summary import LesionSummary
from segfocal.evaluate.pairing import CaseFiles
from segfocal.evaluate.prediction_report import read_prediction_report
from segfocal.files import make_folder
from segfocal.grid import Volume
from segfocal.inference import bundle as bundles
from segfocal.intensity import Intensity, Percentiles
from segfocal.io import volumes
from segfocal.plain_names import slug
from segfocal.report.case_picture import CasePicture, draw_errors, draw_largest
from segfocal.report.plots import draw_froc, draw_strips

OVERLAY, OVERLAYS, DICE_PLOT = "overlay.png", "overlays", "dice.png"  # of one case; of the worst of many; of all
FROC_PLOT = "froc.png"
_FRAME = "SPL"  # axial slices as radiologists see them
_WINDOW = Percentiles(low=5, high=99.5)
_DRAWN = ("ok", "missed", "false_alarm")  # statuses that leave something to look at
_FEWEST_DOTS = 3  # of a distribution worth drawing
_RATES = np.geomspace(1 / 16, 16, 257)  # false positives a case at which a FROC is drawn


@dataclass(frozen=True, kw_only=True)
class PicturedCase:
    """A structure of a case with its picture."""

    metrics: CaseMetrics
    files: CaseFiles
    picture: Path


def draw_only(folder: Path, case: JudgedCase) -> list[PicturedCase]:
    """Draw the slices of a single case where its first structure is largest; nothing if its scan is not at hand.

    Raises:
        UserError: the scan that was named is missing or lies on another grid.
    """
    scan, window = _scan(case.files)
    if scan is None or case.files.prediction is None or not case.metrics:
        return []
    metrics = case.metrics[0]
    pictured = PicturedCase(metrics=metrics, files=case.files, picture=folder / OVERLAY)
    heading = f"{case.files.prediction.name}: {metrics.structure}, Dice {metrics.dice:.3f}"
    draw_largest(pictured.picture, _picture(case, metrics, scan, window, heading=heading))
    return [pictured]


def draw_worst(folder: Path, judged: Sequence[JudgedCase], most: int) -> list[PicturedCase]:
    """Draw the `most` structures with the lowest Dice, the largest of equal ones first, where most of them is wrong."""
    shown = []
    for metrics, case in _worst(judged, most):
        path = _picture_path(folder, metrics)
        make_folder(path.parent)
        try:
            scan, window = _scan(case.files)
        except (UserError, OSError):  # the outlines alone still show what is wrong
            scan, window = None, _WINDOW
        heading = f"{metrics.case}: {metrics.structure}, Dice {metrics.dice:.3f}"
        draw_errors(path, _picture(case, metrics, scan, window, heading=heading))
        shown.append(PicturedCase(metrics=metrics, files=case.files, picture=path))
    return shown


def pictures_of(folder: Path, judged: Sequence[JudgedCase], most: int) -> list[Path]:
    """Return the files that `draw_worst` writes."""
    return [_picture_path(folder, metrics) for metrics, _ in _worst(judged, most)]


def _worst(judged: Sequence[JudgedCase], most: int) -> list[tuple[CaseMetrics, JudgedCase]]:
    found = [(metrics, case) for case in judged for metrics in case.metrics if metrics.status in _DRAWN]
    found.sort(key=lambda each: (each[0].dice, -each[0].reference_ml, -each[0].prediction_ml))
    return found[:most]


def _picture_path(folder: Path, metrics: CaseMetrics) -> Path:
    return folder / OVERLAYS / f"{slug(f'{metrics.case}_{metrics.structure}')}.png"


def draw_dice(folder: Path, judged: Sequence[JudgedCase]) -> Path | None:
    """Draw the Dice of every case by structure as dice.png; None where there are too few cases for a plot."""
    values: dict[str, list[float]] = {}
    for case in judged:
        for metrics in (each for each in case.metrics if each.status != "nowhere"):
            values.setdefault(metrics.structure, []).append(metrics.dice)
    if max(map(len, values.values()), default=0) < _FEWEST_DOTS:
        return None
    draw_strips(folder / DICE_PLOT, values, xlabel="Dice of each case; the bar is the median")
    return folder / DICE_PLOT


def draw_frocs(folder: Path, lesions: Sequence[LesionSummary]) -> Path | None:
    """Draw the FROC of every structure as froc.png; None where there is none."""
    found = {each.structure: each.froc for each in lesions if each.froc is not None}
    if not found:
        return None
    curves = {name: (_RATES.tolist(), [curve.recall_at(rate) for rate in _RATES]) for name, curve in found.items()}
    draw_froc(folder / FROC_PLOT, curves)
    return folder / FROC_PLOT


def _picture(
    case: JudgedCase, metrics: CaseMetrics, scan: Volume | None, window: Intensity, *, heading: str
) -> CasePicture:
    files = case.files
    assert files.prediction is not None
    with noted():  # which the table has
        reference = volumes.read_labels(files.reference)
        prediction = volumes.laid(volumes.read_labels(files.prediction), reference.grid, files.prediction)
    prediction = with_value(prediction, read_prediction_report(files.prediction), metrics.label)
    return CasePicture(
        scan=scan,
        reference=with_unions(reference, case.unions),
        prediction=prediction,
        value=metrics.label,
        intensity=window,
        frame=_FRAME,
        heading=heading,
    )


def _scan(files: CaseFiles) -> tuple[Volume | None, Intensity]:
    """Return the scan of a case and how to show it: through its bundle's window if that can be had.

    Raises:
        UserError: the scan that was named is missing or lies on another grid. A scan known from a report only is
            passed over then.
    """
    report = read_prediction_report(files.prediction)
    image = files.image or report.scan
    window = bundles.read_intensity(report.bundle) if report.bundle else None
    if image is None or (files.image is None and not image.is_file()):
        return None, window or _WINDOW
    scan = volumes.read(image)
    grid = volumes.read_grid(files.reference)
    on_it = scan.on(grid)
    if on_it is None and files.image is not None:
        raise UserError(
            expected="a scan on the grid of the reference",
            found=volumes.difference(grid, scan.grid),
            where=image,
            do="give the right image",
        )
    return on_it, window or _WINDOW
