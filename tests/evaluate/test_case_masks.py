"""The masks of a case: those of one structure alone have the value of the report beside them."""

import json

import numpy as np
import pytest

from segfocal.errors import UserError
from segfocal.evaluate.evaluate import evaluate
from segfocal.evaluate.options import EvaluationSettings, MaskEvaluation
from tests.evaluate.folders import rows_of
from tests.scans import make_scan

STRUCTURES = {"spleen": 1, "liver": 5, "left_kidney": 7}


@pytest.fixture
def separate(tmp_path):
    """A reference of three structures, and the mask of each alone as `predict separate=true` leaves them."""
    reference = np.zeros((12, 9, 6), np.uint8)
    reference[1:3, 1:4, 1:4], reference[5:8, 1:4, 1:4], reference[9:11, 1:4, 1:4] = 1, 5, 7
    make_scan(tmp_path / "labels" / "c.nii.gz", reference)
    make_scan(tmp_path / "scan.nii.gz", reference)
    for name, value in STRUCTURES.items():
        make_scan(tmp_path / "masks" / f"c_{name}.nii.gz", np.uint8(reference == value))
    report = {"segfocal": "1", "structures": STRUCTURES, "input": str(tmp_path / "scan.nii.gz")}
    report["files"] = {name: [f"c_{name}.nii.gz"] for name in STRUCTURES}
    (tmp_path / "masks" / "c.json").write_text(json.dumps(report))
    return tmp_path


def judged(folder, name, *, labels=None, **options):
    return rows_of(
        evaluate(
            MaskEvaluation(
                prediction=folder / "masks" / name,
                reference=folder / "labels" / "c.nii.gz",
                output=folder / "out",
                settings=EvaluationSettings(labels=labels),
                overwrite=True,
                **options,
            )
        )
    )


@pytest.mark.parametrize("labels", [None, STRUCTURES])
@pytest.mark.parametrize("name", STRUCTURES)
def test_a_mask_of_one_structure_is_judged_by_the_value_of_its_report(separate, name, labels):
    (row,) = judged(separate, f"c_{name}.nii.gz", labels=labels)
    assert (row["structure"], row["label"], row["dice"]) == (name, STRUCTURES[name], 1.0)
    assert (separate / "out" / "overlay.png").is_file()


def test_a_pattern_and_a_second_mask_too(separate):
    against = separate / "masks" / "c_liver.nii.gz"
    (row,) = judged(separate, "*_liver.nii.gz", against=against, workers=1)
    assert (row["structure"], row["label"], row["dice"]) == ("liver", 5, 1.0)
    (line,) = (separate / "out" / "metrics_against.csv").read_text().splitlines()[1:]
    assert line.startswith("c,liver,5,1.0")


def test_a_mask_of_another_structure_is_refused(separate):
    with pytest.raises(UserError, match="one of liver alone"):
        judged(separate, "c_liver.nii.gz", labels={"spleen": 1})


def test_a_union_is_compared_with_its_parts(separate):
    path = separate / "masks" / "c.json"
    report = json.loads(path.read_text())
    report["structures"], report["made_of"] = {"liver": 1, "spleen": 2}, {"liver": [5], "spleen": [1]}
    path.write_text(json.dumps(report))
    for name in report["structures"]:
        (row,) = judged(separate, f"c_{name}.nii.gz")
        assert (row["structure"], row["dice"]) == (name, 1.0)
