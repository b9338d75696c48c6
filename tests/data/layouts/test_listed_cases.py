"""Cases that dataset.json lists: every channel of a case, and what lies beside the list is named."""

import json
import unicodedata

import numpy as np
import pytest

from segfocal.data.cases import read_cases
from segfocal.errors import UserError
from segfocal.io.passed_over import Reason
from tests.scans import make_scan


def dataset(root, images, labels, **described):
    for folder, names in (("imagesTr", images), ("labelsTr", labels)):
        (root / folder).mkdir()
        for name in names:
            make_scan(root / folder / f"{name}.nii.gz", np.ones((3, 4, 5), np.uint8))
    (root / "dataset.json").write_text(json.dumps({"labels": {"0": "background", "1": "x"}, **described}))
    return root


def training(*pairs):
    return [{"image": f"./imagesTr/{image}.nii.gz", "label": f"labelsTr/{label}.nii.gz"} for image, label in pairs]


def read(root):
    found = read_cases(root)
    passed = {one.path.name: one.reason for one in found.passed_over}
    return {case.name: [path.name.split(".")[0] for path in case.images] for case in found.cases}, passed


@pytest.mark.parametrize("listed", ["x_0000", "x_0001", "x"])
def test_the_channels_beside_a_listed_one_belong_to_its_case(tmp_path, listed):
    root = dataset(tmp_path, ["x_0000", "x_0001"], ["x"], training=training((listed, "x")))
    assert read(root) == ({"x": ["x_0000", "x_0001"]}, {})


def test_numbers_of_cases_are_no_channels(tmp_path):
    names = ["word_0000", "word_0001", "word_0002"]
    root = dataset(tmp_path, names, names, training=training(*zip(names[:2], names[:2], strict=True)))
    assert read(root) == (
        {"word_0000": ["word_0000"], "word_0001": ["word_0001"]},
        {"word_0002.nii.gz": Reason.NOT_LISTED},
    )


def test_what_is_not_listed_is_named_and_a_label_of_no_image_is_another_thing(tmp_path):
    root = dataset(tmp_path, ["a", "b"], ["a", "b", "c"], training=training(("a", "a")))
    found = read_cases(root)
    assert [(one.path.parent.name, one.path.name[0], one.reason) for one in found.passed_over] == [
        ("imagesTr", "b", Reason.NOT_LISTED),
        ("labelsTr", "b", Reason.NOT_LISTED),
        ("labelsTr", "c", Reason.LABEL_WITHOUT_IMAGE),
    ]


@pytest.mark.parametrize("listed", [("a", "b"), ("a_0000", "b_0001"), ("a_0001", "b_0002")])
def test_a_missing_channel_of_a_listed_case_is_refused(tmp_path, listed):
    root = dataset(
        tmp_path,
        ["a_0000", "a_0001", "b_0001", "b_0002"],
        ["a", "b"],
        training=training(*zip(listed, "ab", strict=True)),
    )
    with pytest.raises(UserError, match=r"0001, 0002 of b: 0000 is missing|image of case a"):
        read_cases(root)


def test_a_missing_channel_that_dataset_json_promises_is_refused(tmp_path):
    root = dataset(
        tmp_path, ["a_0000", "a_0001"], ["a"], channel_names={"0": "T1", "1": "T2", "2": "FLAIR"}, file_ending=".nii.gz"
    )
    with pytest.raises(UserError, match=r"0001, 0002 of every case, as dataset\.json says; found .*0002 is missing"):
        read_cases(root)


def test_a_listed_image_that_is_gone_is_missed_and_no_other_channel_taken(tmp_path):
    root = dataset(tmp_path, ["x_0001"], ["x"], training=training(("x_0000", "x")))
    with pytest.raises(UserError, match=r"the image of case x_0000; found no such file"):
        read_cases(root)


def test_two_files_of_one_channel_are_refused(tmp_path):
    root = dataset(tmp_path, ["x_0000"], ["x"], training=training(("x", "x")))
    make_scan(root / "imagesTr" / "x_0000.nii", np.ones((3, 4, 5), np.uint8))
    assert read(root) == ({"x": ["x_0000"]}, {"x_0000.nii": Reason.NOT_LISTED})
    (root / "imagesTr" / "x_0000.nii").rename(root / "imagesTr" / "x_0000.NII.gz")
    with pytest.raises(UserError, match="one file a channel"):
        read_cases(root)


def table(root, *cases, channels=(0, 1)):
    return {
        case: {
            "images": [f"imagesTr/{case}_{channel:04d}.nii.gz" for channel in channels],
            "label": f"labelsTr/{case}.nii.gz",
        }
        for case in cases
    }


def test_the_table_of_nnunet_2_is_read(tmp_path):
    names = ["a_0000", "a_0001", "b_0000", "b_0001"]
    root = dataset(tmp_path, names, ["a", "b"], dataset=table(tmp_path, "a"), file_ending=".nii.gz")
    cases, passed = read(root)
    assert cases == {"a": ["a_0000", "a_0001"]}
    assert set(passed) == {"b_0000.nii.gz", "b_0001.nii.gz", "b.nii.gz"}


def test_the_table_of_nnunet_2_with_other_channels_in_one_case_is_refused(tmp_path):
    names = ["a_0000", "a_0001", "b_0001", "b_0002"]
    rows = table(tmp_path, "a") | table(tmp_path, "b", channels=(1, 2))
    root = dataset(tmp_path, names, ["a", "b"], dataset=rows)
    with pytest.raises(UserError, match=r"0001, 0002 of b: 0000 is missing"):
        read_cases(root)


@pytest.mark.parametrize("row", [{"images": "x.nii.gz", "label": 3}, {}, "x", {"images": [], "label": "x.nii.gz"}])
def test_a_row_of_the_table_of_another_form_is_one_line(tmp_path, row):
    root = dataset(tmp_path, ["a_0000"], ["a"], dataset={"a": row})
    with pytest.raises(UserError, match=r"as \{name: .* in .*dataset\.json") as error:
        read_cases(root)
    assert len(str(error.value).splitlines()) == 1


def test_names_with_accents_written_the_other_way_are_found(tmp_path):
    root = dataset(tmp_path, ["é_0000", "é_0001"], ["é"], training=training(("é", "é")))
    for path in [*(root / "imagesTr").iterdir(), *(root / "labelsTr").iterdir()]:
        path.rename(path.with_name(unicodedata.normalize("NFD", path.name)))
    found = read_cases(root)
    assert (len(found.cases), len(found.cases[0].images), found.passed_over) == (1, 2, ())


@pytest.mark.parametrize("part", ["image", "label"])
def test_a_nul_in_a_listed_name_is_one_line(tmp_path, part):
    rows = [{"image": "imagesTr/x.nii.gz", "label": "labelsTr/x.nii.gz", part: "imagesTr/x\0.nii.gz"}]
    root = dataset(tmp_path, ["x"], ["x"], training=rows)
    with pytest.raises(UserError, match=r"found a NUL in .* in .*dataset\.json"):
        read_cases(root)
