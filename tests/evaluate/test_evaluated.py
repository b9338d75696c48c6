"""An evaluation read again: the files of each case, wherever the folder of all was moved, and the worst first."""

import json
import shutil

import numpy as np
import pytest

from segfocal.errors import UserError
from segfocal.evaluate.evaluate import evaluate
from segfocal.evaluate.evaluated import is_evaluated, read_evaluated
from segfocal.evaluate.options import MaskEvaluation
from tests.scans import make_scan


def ball(low, high):
    inside = np.zeros((8, 8, 6), np.uint8)
    inside[low:high, 2:6, 1:5] = 1
    return inside


@pytest.fixture
def place(tmp_path):
    """A folder of masks, labels and scans, and its evaluation: half of `half` was found, all of `whole`."""
    home = tmp_path / "study"
    for name, found in {"half": ball(2, 4), "whole": ball(2, 6), "cut": ball(2, 6)}.items():
        make_scan(home / "labels" / f"{name}.nii.gz", ball(2, 6))
        make_scan(home / "masks" / f"{name}.nii.gz", found)
        make_scan(home / "scans" / f"{name}.nii.gz", ball(0, 8).astype(np.int16))
    cut = home / "masks" / "cut.nii.gz"
    cut.write_bytes(cut.read_bytes()[:-20])
    masks = {"reference": home / "labels", "prediction": home / "masks", "image": home / "scans"}
    evaluate(MaskEvaluation(**masks, output=home / "judged", workers=1, pictures=0))
    return home


def test_the_worst_come_first_with_their_files(place, tmp_path):
    moved = shutil.move(place, tmp_path / "elsewhere")
    found = read_evaluated(moved / "judged")
    assert [case.files.name for case in found.cases] == ["cut", "half", "whole"]
    assert [case.mean_dice for case in found.cases] == [None, pytest.approx(2 / 3), 1.0]
    assert "damaged" in found.cases[0].failure
    assert found.structures == ["label_1"]
    for case in found.cases:
        for file in (case.files.reference, case.files.prediction, case.files.image):
            assert file.resolve() == (moved / file.parent.name / f"{case.files.name}.nii.gz").resolve()


def test_what_is_no_such_evaluation_is_refused(place):
    assert not is_evaluated(place)
    file = place / "judged" / "metrics.json"
    facts = json.loads(file.read_text())
    file.write_text(json.dumps({key: value for key, value in facts.items() if key != "files"}))
    with pytest.raises(UserError, match="Evaluate again"):
        read_evaluated(place / "judged")
    file.write_text(json.dumps(facts | {"files": [{"case": 3}]}))
    with pytest.raises(UserError, match=r"files\[0\]\.case"):
        read_evaluated(place / "judged")
    with pytest.raises(UserError, match=r"metrics\.json"):
        read_evaluated(place)
