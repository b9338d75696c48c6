"""The masks of one case, read and made comparable: one grid, one set of label values, no ignored voxels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segfocal.errors import UserError
from segfocal.evaluate.options import EvaluationSettings, named_labels
from segfocal.evaluate.pairing import CaseFiles
from segfocal.evaluate.prediction_report import PredictionReport, read_prediction_report
from segfocal.grid import Volume
from segfocal.io import nifti, volumes


@dataclass(frozen=True, kw_only=True, eq=False)
class CaseMasks:
    """The label maps of a case on one grid.

    Args:
        reference: the true label map, with the label values of the prediction.
        predictions: the prediction and, where two are compared, the second one; None for a file that is not there.
        labels: label values by structure name; empty where none are known and no mask holds any.
        unions: by label value of the prediction, the reference's own values whose union it is; empty without any.
        ignored: [x,y,z], True at the voxels to leave out; None where none is.
    """

    reference: Volume
    predictions: Sequence[Volume | None]
    labels: Mapping[str, int]
    unions: Mapping[int, Sequence[int]]
    ignored: NDArray[np.bool_] | None


def read_masks(files: CaseFiles, settings: EvaluationSettings, *, compared: bool) -> CaseMasks:
    """Read the masks of a case; `compared` reads the second prediction too.

    A prediction whose axes run another way is turned; notes tell of labels and grids that were almost right.

    Raises:
        UserError: unreadable masks, masks on different grids.
    """
    reference = _label_map(files.reference)
    paths = (files.prediction, files.against) if compared else (files.prediction,)
    predictions = [_prediction(path, files, reference) for path in paths]
    ignored = None if settings.ignore is None else reference.array == settings.ignore
    if ignored is not None:
        predictions = [None if mask is None else _without(mask, ignored) for mask in predictions]
        reference = _without(reference, ignored)
    report = read_prediction_report(files.prediction)
    labels = _labels(report, settings, [reference, *(mask for mask in predictions if mask is not None)])
    predictions = [_valued(mask, path, labels) for mask, path in zip(predictions, paths, strict=True)]
    made_of = {} if settings.labels else report.made_of
    unions = {v: [int(part) for part in made_of.get(name, [v])] for name, v in labels.items()} if made_of else {}
    return CaseMasks(
        reference=with_unions(reference, unions),
        predictions=predictions,
        labels=labels,
        unions=unions,
        ignored=ignored,
    )


def with_unions(reference: Volume, unions: Mapping[int, Sequence[int]]) -> Volume:
    """Return a reference with the label values of a prediction, each the union of some of the reference's own."""
    if not unions:
        return reference
    array = np.zeros(reference.array.shape, dtype=np.uint16)
    for value, parts in unions.items():
        array[np.isin(reference.array, parts)] = value
    return Volume(array=array, grid=reference.grid)


def with_value(mask: Volume, report: PredictionReport, value: int) -> Volume:
    """Return a mask of one structure with its label value in place of 1; a label map as it is."""
    if report.only is None:
        return mask
    return Volume(array=np.where(mask.array == 1, value, 0).astype(np.uint16), grid=mask.grid)


def _valued(mask: Volume | None, path: Path | None, labels: Mapping[str, int]) -> Volume | None:
    """Return a prediction with the label values to compare; UserError for a mask of another structure alone."""
    report = read_prediction_report(path)
    if mask is None or report.only is None:
        return mask
    if report.only not in labels:
        raise UserError(
            expected=f"a mask of {', '.join(labels)}",
            found=f"one of {report.only} alone, as the report beside it says",
            where=path,
            do=f"name it in labels, as labels={{{report.only}: 1}}, or judge another mask",
        )
    return with_value(mask, report, labels[report.only])


def _label_map(path: Path) -> Volume:
    labels = volumes.read_labels(path)
    nifti.check_label_map(labels, path)
    return labels


def _prediction(path: Path | None, files: CaseFiles, reference: Volume) -> Volume | None:
    if path is None:
        return None
    expected = f"a prediction on the grid of its reference {files.reference.name}"
    return volumes.laid(_label_map(path), reference.grid, path, expected=expected)


def _without(labels: Volume, ignored: NDArray[np.bool_]) -> Volume:
    return Volume(array=np.where(ignored, 0, labels.array), grid=labels.grid)


def _labels(report: PredictionReport, settings: EvaluationSettings, masks: Iterable[Volume]) -> Mapping[str, int]:
    """Return the label values to compare: those asked for, those of the report, or every one in the masks (or none)."""
    if settings.labels:
        only = report.only
        return {only: settings.labels[only]} if only and only in settings.labels else settings.labels
    if report.structures:
        named = named_labels(report.structures)
        return {report.only: named[report.only]} if report.only else named
    found = sorted({int(v) for mask in masks for v in np.unique(mask.array)} - {0})
    return {f"label_{value}": value for value in found}
