"""The repair of one case: copies are mended until nothing more can be, and originals stay as they are."""

import nibabel as nib
import numpy as np

from segfocal.data.case import Case
from segfocal.doctor.case_report import examine
from segfocal.doctor.checks import Check
from segfocal.doctor.repair import repair_case
from tests.broken_data import AFFINE, KINDS, make_case


def repaired(folder, kind):
    """Return a case spoilt in one way, its bytes, and what became of it."""
    image, label = make_case(folder / "data", "a", 0, packed=KINDS[kind].packed)
    KINDS[kind].spoil(image, label)
    before = image.read_bytes(), label.read_bytes()
    case = Case(name="a", image=image, label=label)
    (folder / "out").mkdir()
    done = repair_case(examine(case, names={}), folder / "out", names={})
    assert (image.read_bytes(), label.read_bytes()) == before
    return case, done


def test_one_fault_behind_another_is_mended_too(tmp_path):
    case, done = repaired(tmp_path, "one_thing_behind_another")
    assert {one.check for one in done.repairs} == {Check.PACKED, Check.WRONG_UNIT, Check.NOT_FINITE}
    assert done.case.image == tmp_path / "out" / "images" / "a.nii.gz"
    assert [one.file for one in done.repairs if one.check is Check.PACKED] == [str(case.image)]
    assert [one.check for one in done.after.findings if one.severity == "error"] == []
    np.testing.assert_allclose(nib.load(done.case.image).affine, AFFINE, atol=1e-4)  # float32 in the header


def test_what_only_a_person_can_mend_keeps_its_files(tmp_path):
    case, done = repaired(tmp_path, "probabilities")
    assert (done.case, done.repairs) == (case, ())
    assert [one.check for one in done.after.findings if one.severity == "error"] == [Check.NOT_WHOLE]
    assert list((tmp_path / "out").iterdir()) == []


def test_a_sound_case_is_not_copied(tmp_path):
    case, done = repaired(tmp_path, "sound")
    assert (done.case, done.repairs) == (case, ())
