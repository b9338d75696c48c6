"""One case examined: the check is chosen by what an error is about, never by its words."""

import numpy as np
import pytest

from segfocal.data.case import Case
from segfocal.doctor.case_list import check_case_list
from segfocal.doctor.case_report import examine
from segfocal.errors import Fault, UserError
from segfocal.io import nifti
from tests.broken_data import make_case
from tests.pictures import make_png

CHECK_OF = {
    Fault.MISSING: "missing_file",
    Fault.DAMAGED: "damaged",
    Fault.TRAILING_BYTES: "bytes_after",
    Fault.OTHER: "unreadable",
}


@pytest.mark.parametrize("fault", CHECK_OF)
@pytest.mark.parametrize("words", ["anything else", "bytes that are damaged (Not a gzipped file)"])
def test_the_words_of_an_error_do_not_choose_its_check(tmp_path, monkeypatch, fault, words):
    def refuse(path):
        raise UserError(expected="a scan", found=words, where=path, do="look at it", fault=fault)

    image, label = make_case(tmp_path, "a", 0)
    monkeypatch.setattr(nifti, "read_as_is", refuse)
    found = examine(Case(name="a", image=image, label=label), names={}).findings
    assert [(one.check, one.file) for one in found] == [(CHECK_OF[fault], image), (CHECK_OF[fault], label)]


def test_a_damaged_picture_is_named(tmp_path):
    make_png(tmp_path / "images" / "a.png", np.zeros((5, 4), np.uint8)).write_bytes(b"no picture")
    make_png(tmp_path / "labels" / "a.png", np.eye(5, 4, dtype=np.uint8))
    (case,) = check_case_list(tmp_path).cases
    assert [one.check for one in examine(case, names={}).findings if one.severity == "error"] == ["unreadable"]
