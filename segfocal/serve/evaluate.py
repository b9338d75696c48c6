"""A mask and its reference in, figures and a picture out."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segfocal.errors import UserError
from segfocal.grid import Volume
from segfocal.inference import bundle as bundles
from segfocal.intensity import Percentiles
from segfocal.io import nifti
from segfocal.io.figures import overlay, slices_of
from segfocal.io.files import check_new, make_folder, read_json, written_beside
from segfocal.metrics import count
from segfocal.serve.predict import report_path

_FRAME = "SPL"  # pictures show axial slices as radiologists do


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A prediction to judge by a reference.

    labels: values by structure name; None takes those of the report beside the prediction, or, without one, every
    value found in either mask. image: the scan, for the picture; None takes the report's. output: a folder.
    """

    prediction: Path
    reference: Path
    output: Path
    labels: Mapping[str, int] | None = None
    image: Path | None = None
    overwrite: bool = False


def evaluate(comparison: Comparison) -> list[dict[str, Any]]:
    """Write `metrics.csv` and, if the scan is at hand, `overlay.png`; return a row of figures for each structure.

    Raises:
        UserError: an output that exists, unreadable masks, masks on different grids, no structure to compare.
    """
    table = comparison.output / "metrics.csv"
    check_new(table, overwrite=comparison.overwrite)
    prediction = nifti.read_labels(comparison.prediction)
    reference = nifti.read_labels(comparison.reference)
    difference = reference.grid.difference(prediction.grid)
    if difference:
        raise UserError(
            expected=f"a prediction on the grid of its reference {comparison.reference.name}",
            found=difference,
            where=comparison.prediction,
            do="resample one onto the other, or compare the right files",
        )
    report = _report(comparison.prediction)
    labels = _labels(comparison, report, prediction, reference)
    rows: list[dict[str, Any]] = [
        {
            "case": comparison.prediction.name,
            "structure": name,
            "label": value,
            **count(prediction.array, reference.array, value).row(),
        }
        for name, value in labels.items()
    ]
    make_folder(comparison.output)
    with written_beside(table) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    image = comparison.image or _reported(report, "input")
    if image and image.is_file():
        name = next(iter(labels))
        heading = f"{comparison.prediction.name}: {name}, Dice {rows[0]['dice']:.3f}"
        _draw(comparison, report, nifti.read(image), prediction, reference, labels[name], heading)
    return rows


def _report(prediction: Path) -> dict[str, Any]:
    """Return the JSON report that `predict` left beside a mask, or an empty one."""
    path = report_path(prediction)
    return read_json(path) if path.is_file() else {}


def _reported(report: Mapping[str, Any], key: str) -> Path | None:
    return Path(report[key]) if key in report else None


def _labels(comparison: Comparison, report: Mapping[str, Any], prediction: Volume, reference: Volume) -> dict[str, int]:
    chosen = comparison.labels or report.get("structures")
    if chosen:
        return {str(name): int(value) for name, value in chosen.items()}
    found = sorted({int(v) for mask in (prediction, reference) for v in np.unique(mask.array)} - {0})
    if not found:
        raise UserError(
            expected="a structure to compare",
            found="two empty masks and no report beside the prediction",
            where=comparison.prediction,
            do="name one, as labels={liver: 5}",
        )
    return {f"label_{value}": value for value in found}


def _draw(
    comparison: Comparison,
    report: Mapping[str, Any],
    scan: Volume,
    prediction: Volume,
    reference: Volume,
    value: int,
    heading: str,
) -> None:
    """Draw the slices where the structure is largest, through the bundle's window if it can be had."""
    if scan.grid.difference(reference.grid):
        return
    place = _reported(report, "bundle")
    window = bundles.load(place).intensity if place and place.is_dir() else Percentiles(low=5, high=99.5)
    turned = scan.oriented(_FRAME)
    _, mm_h, mm_w = turned.grid.spacing_mm
    masks = [volume.oriented(_FRAME).array == value for volume in (reference, prediction)]
    panels = slices_of(window(np.ascontiguousarray(turned.array)), masks[0], masks[1], aspect=mm_h / mm_w)
    overlay(comparison.output / "overlay.png", panels, heading=heading)
