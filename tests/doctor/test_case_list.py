"""The case list of a data set: one bad entry is a finding, and all other cases are listed as ever."""

import json

import numpy as np
import pytest

from segfocal.data.cases import read_cases
from segfocal.doctor.case_list import check_case_list
from segfocal.errors import UserError
from tests.broken_data import make_case
from tests.pictures import make_sam_med2d
from tests.scans import make_scan


def small(path):
    return make_scan(path, np.ones((3, 4, 5), np.uint8))


def found(listed):
    return [(one.check, one.case) for one in listed.findings]


def refused(root):
    """Return what training says of a data set."""
    with pytest.raises(UserError) as error:
        read_cases(root)
    return str(error.value)


def test_regions_and_the_value_to_ignore_are_known_values(tmp_path):
    make_case(tmp_path, "a", 0)
    (tmp_path / "images").rename(tmp_path / "imagesTr")
    (tmp_path / "labels").rename(tmp_path / "labelsTr")
    labels = {"background": 0, "one": 1, "whole": [1, 2, 3], "ignore": 9}
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": labels, "channel_names": {"0": "CT"}}))
    listed = check_case_list(tmp_path)
    assert listed.allowed == {"one": 1, "whole, 2": 2, "whole, 3": 3, "ignore": 9}
    assert (listed.label_values, listed.ignored, listed.modality) == ({"one": 1}, 9, "ct")
    assert sorted(check_case_list(tmp_path, label_names={1: "one"}).allowed.values()) == [1, 9]


def test_a_patient_without_a_label_leaves_the_others_listed(tmp_path):
    pytest.importorskip("pydicom")
    from tests.dicom import make_series, stored_values

    for number in range(3):
        make_series(tmp_path / f"p{number}" / "CT", stored_values((8, 7, 3), seed=number))
        small(tmp_path / f"p{number}" / "label.nii")
    (tmp_path / "p1" / "label.nii").unlink()
    assert "one label a patient" in refused(tmp_path)
    listed = check_case_list(tmp_path)
    assert [case.name for case in listed.cases] == ["p0", "p2"]
    assert found(listed) == [("case_list", "p1")]


def test_a_damaged_slice_of_one_patient_leaves_the_others_listed(tmp_path):
    pytest.importorskip("pydicom")
    from tests.dicom import make_series, stored_values

    for number in range(3):
        series = make_series(tmp_path / f"p{number}" / "CT", stored_values((8, 7, 3), seed=number))
        small(tmp_path / f"p{number}" / "label.nii")
    first = sorted(series.iterdir())[0]
    first.write_bytes(b"no DICOM")
    assert "a DICOM file (DICM after 128 bytes)" in refused(tmp_path)
    listed = check_case_list(tmp_path)
    assert [case.name for case in listed.cases] == ["p0", "p1"]
    assert found(listed) == [("case_list", "p2")]


def test_a_patient_whose_slice_is_cut_short_is_named(tmp_path):
    """Damage to a file of a listed case is found with the case; of one that is not listed it is found here."""
    pytest.importorskip("pydicom")
    from tests.dicom import make_series, stored_values

    for number in range(3):
        series = make_series(tmp_path / f"p{number}" / "CT", stored_values((8, 7, 3), seed=number))
        small(tmp_path / f"p{number}" / "label.nii")
    first = sorted(series.iterdir())[0]
    content = first.read_bytes()
    for size in (700, 800):
        first.write_bytes(content[:size])
        assert str(first) in refused(tmp_path)
        listed = check_case_list(tmp_path)
        assert [case.name for case in listed.cases] == ["p0", "p1"]
        assert found(listed) == [("case_list", "p2")]


def test_a_bids_subject_without_an_image_leaves_the_others_listed(tmp_path):
    for subject in ("sub-1", "sub-2", "sub-3"):
        small(tmp_path / subject / "anat" / f"{subject}_dseg.nii")
        small(tmp_path / subject / "anat" / f"{subject}_T1w.nii")
    (tmp_path / "sub-2" / "anat" / "sub-2_T1w.nii").unlink()
    small(tmp_path / "sub-3" / "anat" / "sub-3_desc-b_dseg.nii")
    assert "one dseg a case" in refused(tmp_path)
    listed = check_case_list(tmp_path)
    assert [case.name for case in listed.cases] == ["sub-1"]
    assert found(listed) == [("case_list", "sub-3"), ("case_list", "sub-2")]


def test_lines_of_another_form_leave_the_others_listed(tmp_path):
    rows = ['{"image": "a.nii", "label": "a_seg.nii"}', "{", '{"image": "b.nii", "label": "b_seg.nii", "split": "x"}']
    for name in "ab":
        small(tmp_path / f"{name}.nii")
        make_scan(tmp_path / f"{name}_seg.nii", np.zeros((3, 4, 5), np.uint8))
    (tmp_path / "list.jsonl").write_text("\n".join(rows))
    assert "in line 2" in refused(tmp_path / "list.jsonl")
    listed = check_case_list(tmp_path / "list.jsonl")
    assert [(case.name, case.split) for case in listed.cases] == [("a", ""), ("b", "")]
    assert found(listed) == [("case_list", ""), ("case_list", "b")]


def test_a_csv_of_other_bytes_and_splits_is_listed(tmp_path):
    (tmp_path / "list.csv").write_bytes(b"name,image,label,split\n\xff,a.nii,a_seg.nii,trian\nb,b.nii,b_seg.nii,val\n")
    assert "a CSV in UTF-8" in refused(tmp_path / "list.csv")
    listed = check_case_list(tmp_path / "list.csv")
    assert [(case.image.name, case.split) for case in listed.cases] == [("a.nii", ""), ("b.nii", "val")]
    assert found(listed) == [("case_list", ""), ("case_list", listed.cases[0].name)]


@pytest.mark.parametrize("text", ['{"labels": ', "[]", '{"training": ["a"]}', '{"training": []}'])
def test_the_folders_beside_a_broken_dataset_json_are_listed(tmp_path, text):
    for folder in ("imagesTr", "labelsTr"):
        small(tmp_path / folder / "a.nii")
    (tmp_path / "dataset.json").write_text(text)
    refused(tmp_path)
    listed = check_case_list(tmp_path)
    assert [case.name for case in listed.cases] == ["a"]
    assert found(listed) == [("case_list", "")]


def test_images_without_a_folder_of_labels_are_listed(tmp_path):
    small(tmp_path / "images" / "a.nii")
    assert "found none of these" in refused(tmp_path)
    listed = check_case_list(tmp_path)
    assert [(case.name, case.label) for case in listed.cases] == [("a", tmp_path / "labels" / "a.nii.gz")]
    assert found(listed) == [("case_list", "")]


def test_a_picture_that_is_listed_and_missing_is_a_case(tmp_path):
    root = make_sam_med2d(tmp_path)
    before = read_cases(root)
    before.cases[0].image.unlink()
    listed = check_case_list(root)
    assert [case.name for case in listed.cases] == [case.name for case in before.cases]
    assert found(listed) == []  # the doctor tells it where it examines the case
    assert "found no such file" in refused(root)


def test_names_and_a_value_to_ignore_that_cannot_be_read_are_findings(tmp_path):
    make_case(tmp_path, "a", 0)
    listed = check_case_list(tmp_path, label_names={"liver": 1}, ignore="gap")
    assert found(listed) == [("case_list", ""), ("case_list", "")]
    assert (listed.label_values, listed.ignored) == ({}, None)


def test_every_name_and_image_that_stands_twice_is_found(tmp_path):
    for name in "ab":
        make_case(tmp_path, name, ord(name))
    rows = [f"{name},images/{file}.nii,labels/{file}.nii" for name, file in ("xa", "xb", "ya", "yb", "zb")]
    (tmp_path / "list.csv").write_text("\n".join(["name,image,label", *rows]))
    listed = check_case_list(tmp_path / "list.csv")
    assert found(listed) == [("name_twice", "x"), ("name_twice", "y"), ("file_twice", ""), ("file_twice", "")]
    assert [one.file.name for one in listed.findings if one.check == "file_twice"] == ["a.nii", "b.nii"]
    assert "one case a name; found x twice" in refused(tmp_path / "list.csv")


def test_nothing_to_list_is_an_error(tmp_path):
    with pytest.raises(UserError, match="none of these"):
        check_case_list(tmp_path)
    (tmp_path / "list.csv").write_text("image,label\n")
    with pytest.raises(UserError, match="at least one case"):
        check_case_list(tmp_path / "list.csv")


def test_what_training_passes_over_is_found_by_name(tmp_path):
    for case in ("a", "b", "c"):
        small(tmp_path / case / f"{case}_t1.nii.gz")
        small(tmp_path / case / f"{case}_{'truth' if case == 'b' else 'seg'}.nii.gz")
    for name in ("one.png", "two.jpg"):
        (tmp_path / "a" / name).touch()
    listed = check_case_list(tmp_path)
    assert [case.name for case in listed.cases] == ["a", "c"]
    assert [(one.check, one.case, one.found) for one in listed.findings] == [
        ("preview", "", "2 pictures beside scans"),
        ("passed_over", "b", "folder with an image and no label"),
    ]
    assert len(listed.passed_over) == 3


def test_a_label_is_without_an_image_only_where_there_is_none(tmp_path):
    for name in ("images/x", "labels/x", "labels/x_seg", "labels/y"):
        small(tmp_path / f"{name}.nii.gz")
    assert found(check_case_list(tmp_path)) == [("passed_over", "x_seg"), ("label_without_image", "y")]
