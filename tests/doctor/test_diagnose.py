"""An examination of a data set goes on past a case that training refuses."""

import json

import numpy as np
import pytest

pytest.importorskip("pydicom")

from segfocal.doctor.diagnose import diagnose
from segfocal.doctor.diagnosis import Examination
from tests.dicom import make_series, stored_values
from tests.scans import make_scan

SHAPE = (8, 7, 3)


def make_patient(folder, seed):
    make_series(folder / "CT", stored_values(SHAPE, seed=seed))
    make_scan(folder / "label.nii", np.ones(SHAPE, np.uint8))
    return folder


def test_one_bad_patient_leaves_the_others_examined(tmp_path):
    for number in range(3):
        make_patient(tmp_path / "data" / f"p{number}", number)
    (tmp_path / "data" / "p1" / "label.nii").unlink()
    diagnosis = diagnose(Examination(root=tmp_path / "data", output=tmp_path / "out", modality="other"))
    assert diagnosis.cases == 2
    report = json.loads((tmp_path / "out" / "doctor.json").read_text())
    assert [(image["case"], image["shape"]) for image in report["images"]] == [("p0", [8, 7, 3]), ("p2", [8, 7, 3])]
    refused = [row for row in report["findings"] if row["check"] == "case_list"]
    assert [(row["case"], row["severity"]) for row in refused] == [("p1", "error")]
    assert "p1" in (tmp_path / "out" / "doctor.html").read_text()
