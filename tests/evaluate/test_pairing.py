"""Files of two folders find each other by name, and never the wrong one."""

import unicodedata
from pathlib import Path

import pytest

from segfocal.errors import UserError
from segfocal.evaluate.pairing import case_files, match, named_files


@pytest.mark.parametrize(
    ("references", "others", "expected"),
    [
        (["case_1", "case_10"], ["case_10", "case_1"], {"case_1": "case_1", "case_10": "case_10"}),
        (["case_1", "case_10"], ["case_10_0000", "case_1_0000"], {"case_1": "case_1_0000", "case_10": "case_10_0000"}),
        (["case_1", "case_10"], ["case_10_mask"], {"case_10": "case_10_mask"}),
        (["a", "b"], ["seg-b", "seg-a"], {"a": "seg-a", "b": "seg-b"}),
        (["a_label", "b_label"], ["b", "a"], {"a_label": "a", "b_label": "b"}),
        (["c_1_label", "c_2_label"], ["c_2_mask", "c_1_mask"], {"c_1_label": "c_1_mask", "c_2_label": "c_2_mask"}),
        (["c_1", "c_1_b"], ["c_1_b_x", "c_1_x"], {"c_1": "c_1_x", "c_1_b": "c_1_b_x"}),
        (["a", "b"], ["c", "d"], {}),
        (["case_1"], ["case_11"], {}),
        (["a"], [], {}),
        (["sub-01_ses-1", "sub-01_ses-2"], ["sub-02_ses-1", "sub-02_ses-2"], {}),
        (["sub-01_liver_a", "sub-01_liver_b"], ["sub-02_mask_a", "sub-02_mask_b"], {}),
        (["sub-x_a", "sub-x_b"], ["sub-y_a", "sub-y_b"], {}),
        (["p1_t1_label", "p1_t2_label"], ["p2_t1_mask", "p2_t2_mask"], {}),
        (["sub-01_a", "sub-01_b"], ["sub-1_a", "sub-1_b"], {}),
        (["case_001", "case_002"], ["case_1", "case_2"], {}),
        (
            ["sub-01_a_label", "sub-01_b_label"],
            ["sub-01_a_m", "sub-01_b_m"],
            {f"sub-01_{x}_label": f"sub-01_{x}_m" for x in "ab"},
        ),
        (["word", "word_0001"], ["word_0003"], {}),
        (["word", "word_0003"], ["word_0003"], {"word_0003": "word_0003"}),
        (["word", "word_0003"], ["word_0003_0000", "word_0000"], {"word": "word_0000", "word_0003": "word_0003_0000"}),
    ],
)
def test_names_belong_together(references, others, expected):
    assert match(references, others, what="prediction") == expected


def test_two_that_fit_one_are_refused_or_the_first_is_taken():
    with pytest.raises(UserError, match="a_0000 and a_0001"):
        match(["a"], ["a_0000", "a_0001"], what="prediction")
    assert match(["a"], ["a_0000", "a_0001"], what="image", several=True) == {"a": "a_0000"}


def test_folders_patterns_and_single_files(tmp_path):
    for name in ("one/mask.nii.gz", "two/mask.nii.gz", "flat/a.nii", "flat/b.png", "flat/b.json", "flat/.c.nii"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert list(named_files(tmp_path / "flat", what="masks")) == ["a", "b"]
    assert list(named_files(tmp_path / "*" / "mask.nii.gz", what="masks")) == ["one", "two"]
    assert list(named_files(tmp_path / "flat" / "a.nii", what="masks")) == ["a"]
    (tmp_path / "empty").mkdir()
    for place in ("empty", "empty/*.nii.gz", "flat/*.nii.gz"):
        with pytest.raises(UserError, match="none"):
            named_files(tmp_path / place, what="masks")
    (tmp_path / "flat" / "a.png").touch()
    with pytest.raises(UserError, match="two called a"):
        named_files(tmp_path / "flat", what="masks")


def test_one_that_fits_two_is_refused():
    with pytest.raises(UserError, match="sub-01, which may belong to sub-01_ses-1 or sub-01_ses-2"):
        match(["sub-01_ses-1", "sub-01_ses-2"], ["sub-01"], what="prediction")


def test_another_subject_is_refused_in_one_line():
    names = [[Path(f"sub-{n}_ses-{k}.nii.gz") for k in (1, 2)] for n in ("01", "02")]
    references, predictions = ({path.name.split(".")[0]: path for path in paths} for paths in names)
    with pytest.raises(UserError, match="sub-02_ses-1, sub-02_ses-2 beside sub-01_ses-1, sub-01_ses-2") as error:
        case_files(references, predictions)
    assert "\n" not in str(error.value)


def test_names_with_accents_written_either_way_are_one(tmp_path):
    (tmp_path / f"{unicodedata.normalize('NFD', 'é')}.nii.gz").touch()
    assert list(named_files(tmp_path, what="masks")) == ["é"]


def test_a_link_that_leads_nowhere_is_a_file_that_cannot_be_read_not_none(tmp_path):
    (tmp_path / "a.nii.gz").symlink_to("gone.nii.gz")
    assert list(named_files(tmp_path, what="masks")) == ["a"]
