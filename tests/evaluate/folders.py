"""Folders of masks of ten cases for tests, and options to judge them with."""

import csv

import numpy as np

from segfocal.evaluate.options import EvaluationSettings, MaskEvaluation
from tests.scans import AFFINES, sphere

SHAPE, AFFINE = (23, 19, 9), AFFINES["oblique"]
LABELS = {"ball": 1, "dot": 2}
SETTINGS = tuple(EvaluationSettings.__dataclass_fields__)


def scan_of(radius_mm, *, dots=0):
    array = np.uint8(sphere(SHAPE, AFFINE, radius_mm=radius_mm))
    for n in range(dots):
        array[1 + 3 * n, 1, 1] = 2
    return array


def mask_evaluation(root, output, **options):
    """Return the evaluation of the folders `first` and `labels`; of the options, settings are sorted out."""
    options = {"labels": LABELS, "workers": 1, "pictures": 2, **options}
    settings = EvaluationSettings(**{name: options.pop(name) for name in SETTINGS if name in options})
    places = {"prediction": root / "first", "reference": root / "labels", "output": output}
    return MaskEvaluation(**{**places, **options}, settings=settings)


def rows_of(cases):
    """Return the rows of metrics.csv of judged cases."""
    return [row for case in cases for row in case.rows()]


def table(path):
    """Return the rows of a CSV file."""
    return list(csv.DictReader(path.open(encoding="utf-8")))
