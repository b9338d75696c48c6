"""The options of an evaluation are checked before any file is read."""

import pytest

from segfocal.errors import UserError
from segfocal.evaluate.evaluate import evaluate
from tests.evaluate.folders import LABELS, mask_evaluation, rows_of


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"groups": ["volume"]}, "overlap, surface, lesions"),
        ({"tolerance_mm": -1}, "tolerance"),
        ({"tolerance_mm": {"ball": "wide"}}, "wide for ball"),
        ({"lesion_overlap": 1.0}, "lesion_overlap"),
        ({"lesion_iou": -0.1}, "lesion_iou"),
        ({"lesion_iou": "half"}, "lesion_iou"),
        ({"lesion_edges": [5, 5]}, "lesion_edges"),
        ({"lesion_edges": [0, 5]}, "lesion_edges"),
        ({"lesion_edges": ["small"]}, "lesion_edges"),
        ({"lesion_edges": 5}, "lesion_edges"),
        ({"lesion_size": "ml"}, "diameter_mm, mm3"),
        ({"froc_floor": 0}, "froc_floor"),
    ],
)
def test_settings_that_cannot_be_are_told(options, words, tmp_path):
    with pytest.raises(UserError, match=words):
        mask_evaluation(tmp_path, tmp_path, **options)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"Ball": 5}, "Write ball"),
        ({"ball": 2, "dots": 5}, "Write dot"),
        ({"Default": 5}, "Write default"),
        ({"pancreas": 5}, "ball, dot or default"),
    ],
)
def test_a_tolerance_of_an_unknown_structure_is_refused_with_the_nearest(table, words, tmp_path):
    with pytest.raises(UserError, match=words):
        mask_evaluation(tmp_path, tmp_path, labels=LABELS, tolerance_mm=table)


def test_a_tolerance_is_checked_by_the_structures_found_where_none_are_named(folders, tmp_path):
    options = {"labels": None, "groups": ["surface"], "pictures": 0}
    with pytest.raises(UserError, match="Write label_1"):
        evaluate(mask_evaluation(folders, tmp_path / "out", tolerance_mm={"Label_1": 5}, **options))
    assert not (tmp_path / "out").exists()
    rows = rows_of(evaluate(mask_evaluation(folders, tmp_path / "out", tolerance_mm={"label_1": 5}, **options)))
    assert {row["tolerance_mm"] for row in rows if row["structure"] == "label_1"} == {5}


@pytest.mark.parametrize("labels", [["ball"], {"ball": 1.5}, {"ball": True}, {"ball": [1, 2]}, {"ball": float("inf")}])
def test_labels_are_names_with_whole_values(labels, tmp_path):
    with pytest.raises(UserError, match="names with label values from 1"):
        mask_evaluation(tmp_path, tmp_path, labels=labels)
