"""Files of two folders find each other by name, and never the wrong one."""

import pytest

from segfocal.errors import UserError
from segfocal.evaluate.pairing import match, named_files


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
