"""The page of an evaluation."""

import re

import numpy as np

from segfocal.evaluate.evaluate import evaluate
from segfocal.evaluate.options import EvaluationSettings, MaskEvaluation
from segfocal.evaluate.page import ADVICE
from tests import ROOT
from tests.scans import make_scan


def test_the_page_needs_no_other_file(judged):
    _, output = judged
    page = (output / "report.html").read_text()
    assert "<script" not in page
    assert "http" not in page
    assert page.count("data:image/png;base64,") == 3  # two of the worst, and Dice of every case
    for words in ("broken", "damaged", "spare_mask", "missing_prediction", "Holm", "diagonal"):
        assert words in page


def test_misses_come_first_then_false_positives_and_the_larger_before_others(tmp_path):
    reference, prediction = np.zeros((2, 20, 9, 5), np.uint8)
    reference[0:2, 0:3, 0:3] = prediction[0:2, 0:3, 0:3] = 1  # matched
    reference[5:8, 0:3, 0:3] = reference[5, 6, 0] = 1  # missed
    prediction[10:12, 0:3, 0:3] = prediction[10, 6, 0] = 1  # false
    reference[14:18, 0, 0], prediction[17:19, 0, 0] = 1, 1  # one of five voxels
    places = {"reference": reference, "prediction": prediction}
    places = {name: make_scan(tmp_path / f"{name}.nii.gz", array) for name, array in places.items()}
    settings = EvaluationSettings(labels={"lesion": 1}, groups=("lesions",))
    evaluate(MaskEvaluation(**places, output=tmp_path / "out", settings=settings))
    page = (tmp_path / "out" / "report.html").read_text()
    assert 'href="lesions.csv"' in page
    table = page[page.index("misses first") :]
    cells = r'<span class="badge [^"]*">([^<]*)</span></td>\s*<td class="text">(\d) of the (\w+)</td>'
    lesions = re.findall(cells, table)
    assert lesions == [
        ("missed", "1", "reference"),
        ("missed", "4", "reference"),
        ("false positive", "2", "prediction"),
        ("false positive", "4", "prediction"),
        ("touched, not matched", "3", "reference"),
        ("touches, not matched", "3", "prediction"),
        ("matched", "2", "reference"),
    ]


def test_what_to_look_at_is_the_same_in_the_docs():
    text = (ROOT / "docs" / "evaluate.md").read_text()
    for row in ADVICE:
        assert f"| {' | '.join(row)} |" in text
