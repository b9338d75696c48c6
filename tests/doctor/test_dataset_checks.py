"""Checks that compare cases: real scans and pictures raise no alarm."""

from segfocal.cli.app import demo_data
from segfocal.doctor.case_list import check_case_list
from segfocal.doctor.case_report import examine
from segfocal.doctor.dataset_checks import dataset_findings
from tests.pictures import make_sam_med2d


def alarms(findings):
    return [(one.check, one.case, one.found) for one in findings if one.severity != "note"]


def test_the_demo_scans_raise_no_alarm():
    listing = check_case_list(f"{demo_data()}/cases.csv", label_names=f"{demo_data()}/label_names.json#ct")
    cases = [examine(case, names=listing.allowed) for case in listing.cases]
    assert alarms(one for case in cases for one in case.findings) == []
    assert alarms(dataset_findings(cases, names=listing.label_values, modality="ct")) == []
    assert listing.findings == []


def test_pictures_with_masks_raise_no_alarm(tmp_path):
    listing = check_case_list(make_sam_med2d(tmp_path))
    cases = [examine(case, names=listing.allowed) for case in listing.cases]
    assert alarms(one for case in cases for one in case.findings) == []
    assert alarms(dataset_findings(cases, names=listing.label_values, modality="")) == []
