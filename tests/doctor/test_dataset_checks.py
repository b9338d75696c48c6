"""Checks that compare cases: real scans and pictures raise no alarm."""

import numpy as np
import pytest

from segfocal.cli.app import demo_data
from segfocal.doctor.case_list import check_case_list
from segfocal.doctor.case_report import examine
from segfocal.doctor.dataset_checks import dataset_findings
from tests.pictures import make_sam_med2d
from tests.scans import make_scan


def alarms(findings):
    return [(one.check, one.case, one.found) for one in findings if one.severity != "note"]


def test_the_demo_scans_raise_no_alarm():
    listing = check_case_list(f"{demo_data()}/cases.csv", label_names=f"{demo_data()}/label_names.json#ct")
    cases = [examine(case, names=listing.allowed) for case in listing.cases]
    assert alarms(one for case in cases for one in case.findings) == []
    assert alarms(dataset_findings(cases, names=listing.label_values, modality="ct")) == []
    assert listing.findings == []


def of_series(folder, stored, modality, slopes=None):
    """Return the alarms of a patient whose series has these stored values, a slope a slice, and a label."""
    from tests.dicom import make_series

    def change(index, dataset):
        dataset.Modality, dataset.RescaleIntercept = modality, 0
        dataset.RescaleSlope = 1 if slopes is None else slopes[index]

    make_series(folder / "p" / "CT", stored, change=change)
    make_scan(folder / "p" / "label.nii", np.ones(stored.shape, np.uint8) * (stored > 500))
    listing = check_case_list(folder, label_names={1: "x"})
    cases = [examine(case, names=listing.allowed) for case in listing.cases]
    return [one[0].value for one in alarms(dataset_findings(cases, names=listing.label_values, modality=""))]


def test_a_pet_is_not_judged_as_a_ct_without_its_intercept(tmp_path):
    """Activity from 0 to 3000 with a body of about 1000: on a CT's scale, air at 0 and water at 1000."""
    pytest.importorskip("pydicom")
    body = np.zeros((30, 24, 6), np.int16)
    body[5:25, 4:20] = np.random.default_rng(0).integers(900, 1100, (20, 16, 6))
    body[12, 12] = 3000
    assert of_series(tmp_path / "pet", body, "PT") == []
    assert of_series(tmp_path / "mr", body, "MR") == []
    assert of_series(tmp_path / "pet_scaled", body, "PT", slopes=[0.5, 1, 1.5, 2, 2.5, 3]) == []
    assert of_series(tmp_path / "ct", body, "CT") == ["no_hounsfield"]
    assert of_series(tmp_path / "unknown", body, "") == ["no_hounsfield"]


def test_pictures_with_masks_raise_no_alarm(tmp_path):
    listing = check_case_list(make_sam_med2d(tmp_path))
    cases = [examine(case, names=listing.allowed) for case in listing.cases]
    assert alarms(one for case in cases for one in case.findings) == []
    assert alarms(dataset_findings(cases, names=listing.label_values, modality="")) == []
