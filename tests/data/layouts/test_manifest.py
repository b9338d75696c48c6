"""Lists of cases: a line of another form is named by its number."""

import json
import unicodedata

import numpy as np
import pytest

from segfocal.data.cases import read_cases
from segfocal.errors import UserError
from tests.scans import make_scan


@pytest.mark.parametrize(
    "line", ["[]", '{"image": "a"}', '{"image": [], "label": "b"}', '{"image": "a", "label": 3}', "{"]
)
def test_a_line_of_jsonl_of_another_form_is_refused(tmp_path, line):
    (tmp_path / "list.jsonl").write_text(line)
    with pytest.raises(UserError, match=r"in each line; found in line 1 .* in .*list\.jsonl"):
        read_cases(tmp_path / "list.jsonl")


def test_a_label_map_beside_masks_is_refused(tmp_path):
    rows = [{"image": "a", "label": "b"}, {"image": "c", "label": {"liver": "d"}}]
    (tmp_path / "list.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(UserError, match="a label map of every case, or masks of every case; found both"):
        read_cases(tmp_path / "list.jsonl")


def scans(root, *names):
    for name in names:
        make_scan(root / f"{name}.nii", np.ones((3, 4, 5), np.uint8))


def listed(root, kind, *rows):
    """Write rows of channels and a label as a CSV or a JSONL; return its path."""
    path = root / f"list.{kind}"
    if kind == "csv":
        text = "image,label\n" + "".join(f"{';'.join(images)},{label}\n" for images, label in rows)
    else:
        text = "".join(json.dumps({"image": images, "label": label}) + "\n" for images, label in rows)
    path.write_text(text, encoding="utf-8-sig")
    return path


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
@pytest.mark.parametrize("second", [(1, 2), (1, 0), (0, 2)])
def test_a_channel_in_the_place_of_another_is_refused(tmp_path, kind, second):
    scans(tmp_path, "a", "b", *(f"{case}_000{number}" for case in "ab" for number in range(3)))
    rows = [
        ([f"{case}_000{n}.nii" for n in numbers], f"{case}.nii") for case, numbers in (("a", (0, 1)), ("b", second))
    ]
    with pytest.raises(UserError, match=r"the channels 0000, 0001 of every case, in this order; found .* of b_000"):
        read_cases(listed(tmp_path, kind, *rows))


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_listed_name_in_another_writing_is_found(tmp_path, kind):
    scans(tmp_path, unicodedata.normalize("NFD", "é"), "b")
    (tmp_path / "b.nii").rename(tmp_path / "b.NII")
    (case,) = read_cases(listed(tmp_path, kind, (["é.nii"], "b.nii"))).cases
    assert case.image.is_file()
    assert case.label.is_file()


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
@pytest.mark.parametrize("row", [(["a\0.nii"], "b.nii"), (["a.nii"], "b\0.nii"), (["a.nii"], ["b.nii", "b\0.nii"])])
def test_a_nul_in_a_listed_name_is_one_line(tmp_path, kind, row):
    scans(tmp_path, "a", "b")
    images, label = row
    label = ";".join(label) if kind == "csv" and isinstance(label, list) else label
    with pytest.raises(UserError, match=r"found a NUL in .* in .*list\."):
        read_cases(listed(tmp_path, kind, (images, label)))


def test_two_masks_that_would_be_one_structure_are_refused(tmp_path):
    scans(tmp_path, "x", "liver", "more/liver")
    with pytest.raises(UserError, match=r"a mask file a structure; found liver\.nii and liver\.nii"):
        read_cases(listed(tmp_path, "csv", (["x.nii"], "liver.nii;more/liver.nii")))
