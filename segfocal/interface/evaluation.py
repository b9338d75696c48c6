"""Metrics of one mask by its reference for Python programs: the rows that `segfocal evaluate` writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from segfocal.errors import UserError
from segfocal.evaluate.case_metrics import case_metrics
from segfocal.evaluate.judge import judge
from segfocal.evaluate.options import EvaluationSettings
from segfocal.evaluate.pairing import CaseFiles
from segfocal.grid import Volume
from segfocal.interface.scans import labels_of, paths_of


def evaluate(
    prediction: Any,
    reference: Any,
    *,
    affine: ArrayLike | None = None,
    labels: Mapping[str, int] | None = None,
    **settings: Any,
) -> list[dict[str, Any]]:
    """Return the metrics of a mask, one row a structure, by the names of the columns of metrics.csv.

    Args:
        prediction: a label map: a path, an image of nibabel's, a volume, or an array [x,y,z].
        reference: the true one, likewise, on the same grid; axes may run another way.
        affine: of masks that are arrays.
        labels: label values by structure name; None takes those of the report beside a path, else every value found,
            as "label_5".
        settings: others of `EvaluationSettings`: ignore, groups, tolerance_mm, lesion_overlap, lesion_iou, ….

    Raises:
        UserError: masks on different grids, or that are none, an option out of range.
    """
    try:
        asked = EvaluationSettings(labels=labels, **settings)
    except TypeError as error:
        raise UserError(expected="options of EvaluationSettings", found=str(error), do="change that option") from error
    paths = [None if isinstance(mask, np.ndarray) else paths_of(mask) for mask in (prediction, reference)]
    if paths[0] is not None and paths[1] is not None:
        files = CaseFiles(name=paths[0][0].name, prediction=paths[0][0], reference=paths[1][0])
        return [metrics.row() for metrics in judge(files, asked, compared=False, ranked=False).metrics]
    found, true = (
        labels_of(mask, affine if isinstance(mask, np.ndarray) else None) for mask in (prediction, reference)
    )
    laid = found.on(true.grid)
    if laid is None:
        raise UserError(
            expected="a prediction on the grid of its reference",
            found=true.grid.difference(found.grid) or "axes that cannot be turned onto it",
            do="resample one onto the other",
        )
    laid, true = _without_ignored(laid, true, asked.ignore)
    return [metrics.row() for metrics in case_metrics("", laid, true, _values(laid, true, asked), asked)]


def _without_ignored(prediction: Volume, reference: Volume, ignore: int | None) -> tuple[Volume, Volume]:
    """Return masks that are background where the reference says that nothing is known."""
    if ignore is None:
        return prediction, reference
    ignored = reference.array == ignore
    first, second = (replace(mask, array=np.where(ignored, 0, mask.array)) for mask in (prediction, reference))
    return first, second


def _values(prediction: Volume, reference: Volume, settings: EvaluationSettings) -> Mapping[str, int]:
    if settings.labels:
        return settings.labels
    found = {int(value) for mask in (prediction, reference) for value in np.unique(mask.array)} - {0}
    return {f"label_{value}": value for value in sorted(found)}
