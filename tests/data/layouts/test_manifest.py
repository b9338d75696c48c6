"""Lists of cases: a line of another form is named by its number."""

import json

import pytest

from segfocal.data.cases import read_cases
from segfocal.errors import UserError


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
