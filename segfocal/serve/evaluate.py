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
from segfocal.inference import picture
from segfocal.intensity import Percentiles
from segfocal.io import nifti, volumes
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
    prediction = volumes.read_labels(comparison.prediction)
    reference = volumes.read_labels(comparison.reference)
    nifti.check_label_map(prediction, comparison.prediction)
    nifti.check_label_map(reference, comparison.reference)
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
    first = next(iter(labels.items()))
    _draw(comparison, report, prediction, reference, structure=first, heading=f"Dice {rows[0]['dice']:.3f}")
    with written_beside(table) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return rows


def _report(prediction: Path) -> dict[str, Any]:
    """Return the JSON report that `predict` left beside a mask, or an empty one."""
    path = report_path(prediction)
    report = read_json(path) if path.is_file() else {}
    return report if isinstance(report, dict) and "segfocal" in report else {}


def _labels(comparison: Comparison, report: Mapping[str, Any], prediction: Volume, reference: Volume) -> dict[str, int]:
    chosen = comparison.labels or report.get("structures")
    if chosen:
        try:
            return {str(name): int(value) for name, value in chosen.items()}
        except (AttributeError, TypeError, ValueError) as error:
            raise UserError(
                expected="names with label values", found=f"labels={chosen}", do='write "labels={liver: 5}"'
            ) from error
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
    prediction: Volume,
    reference: Volume,
    *,
    structure: tuple[str, int],
    heading: str,
) -> None:
    """Draw the slices where a structure is largest, through the bundle's window if it can be had.

    Raises:
        UserError: the scan that was named is missing or lies on another grid. One known from a report only is passed
            over then.
    """
    image = comparison.image or (Path(report["input"]) if "input" in report else None)
    if image is None or (comparison.image is None and not image.is_file()):
        return
    scan = volumes.read(image)
    difference = reference.grid.difference(scan.grid)
    if difference and comparison.image is None:
        return
    if difference:
        raise UserError(
            expected="a scan on the grid of the reference", found=difference, where=image, do="give the right image"
        )
    window = bundles.read_intensity(Path(report["bundle"])) if "bundle" in report else None
    name, value = structure
    picture.draw(
        comparison.output / "overlay.png",
        scan=scan,
        reference=reference,
        prediction=prediction,
        value=value,
        intensity=window or Percentiles(low=5, high=99.5),
        frame=_FRAME,
        heading=f"{comparison.prediction.name}: {name}, {heading}",
    )
