"""The doctor names what is wrong with each case, mends what it can in copies, and leaves originals as they are."""

import csv
import hashlib
import json

import nibabel as nib
import numpy as np
import pytest

from segfocal.doctor.checks import CHECKS
from tests import ROOT
from tests.broken_data import AFFINE, KINDS, crop, make_case, make_corpus, rewrite
from tests.system.commands import segfocal

NAMES = "data.label_names={1:one,2:two,3:three,5:liver}"
MENDABLE = [name for name, kind in KINDS.items() if kind.mendable]


def hashes(folder):
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def found_in(output, *, notes=False):
    """Return the checks that found something, by case."""
    found = {}
    for row in json.loads((output / "doctor.json").read_text())["findings"]:
        if notes or row["severity"] != "note":
            found.setdefault(row["case"], set()).add(row["check"])
    return found


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Every kind of broken case, examined and mended: the folder, the output, the exit code, the hashes before."""
    folder, output = tmp_path_factory.mktemp("corpus"), tmp_path_factory.mktemp("doctor")
    data = make_corpus(folder, list(KINDS))
    before = hashes(folder)
    with pytest.MonkeyPatch.context() as monkeypatch:
        options = (f"data.root={data}", NAMES, f"output={output}", "fix=true", "modality=ct")
        code = segfocal(monkeypatch, "doctor", *options)
    return folder, output, code, before


def test_the_corpus_is_large():
    assert len(KINDS) >= 25
    assert len({check for kind in KINDS.values() for check in kind.checks}) >= 25


def test_errors_make_the_exit_code_one(corpus):
    assert corpus[2] == 1


@pytest.mark.parametrize("name", KINDS)
def test_each_broken_case_is_named_for_what_it_is(corpus, name):
    assert found_in(corpus[1]).get(name, set()) == KINDS[name].checks


def test_originals_stay_byte_for_byte(corpus):
    folder, _, _, before = corpus
    assert hashes(folder) == before


def test_what_was_mended_passes_a_second_look(corpus, tmp_path, monkeypatch, capsys):
    _, output, _, _ = corpus
    rows = list(csv.DictReader((output / "cases.csv").read_text().splitlines()))
    assert set(MENDABLE) <= {row["name"] for row in rows}
    options = (f"data.root={output / 'cases.csv'}", NAMES, f"output={tmp_path}", "modality=ct")
    assert segfocal(monkeypatch, "doctor", *options) == 0
    again = found_in(tmp_path)
    assert {name: again[name] for name in MENDABLE if name in again} == {}


def test_every_change_is_logged_with_what_was_left_out(corpus):
    _, output, _, _ = corpus
    lines = [json.loads(line) for line in (output / "fixes.jsonl").read_text().splitlines()]
    changed = {line["case"]: line for line in lines if line["action"] != "left out"}
    assert set(changed) == set(MENDABLE)
    assert all(line["check"] in CHECKS and line["file"] and line["to"] for line in changed.values())
    left_out = {line["case"] for line in lines if line["action"] == "left out"}
    broken = {n for n, k in KINDS.items() if any(CHECKS[c].severity == "error" for c in k.checks) and not k.mendable}
    assert left_out == broken
    kept = {row["name"] for row in csv.DictReader((output / "cases.csv").read_text().splitlines())}
    assert kept == set(KINDS) - left_out


def mended(corpus, name, part):
    _, output, _, _ = corpus
    return nib.load(output / part / f"{name}.nii.gz")


def expected_label(folder, name):
    """Return the label as it was before it was spoilt."""
    number = list(KINDS).index(name)
    _, label = make_case(folder, "x", number)
    return np.asarray(nib.load(label).dataobj)


@pytest.mark.parametrize(
    "name",
    ["label_moved_a_little", "almost_whole", "label_of_nan", "packed_without_saying"],
)
def test_a_mended_label_is_the_label_it_was(corpus, tmp_path, name):
    label = mended(corpus, name, "labels")
    np.testing.assert_array_equal(np.asarray(label.dataobj), expected_label(tmp_path, name))
    np.testing.assert_allclose(label.affine, AFFINE, atol=1e-4)  # float32 in the header
    assert label.get_data_dtype() == np.uint8


def test_a_label_moved_by_two_voxels_is_moved_back_by_them(corpus, tmp_path):
    label = np.asarray(mended(corpus, "label_moved_far", "labels").dataobj)
    np.testing.assert_array_equal(label[2:], expected_label(tmp_path, "label_moved_far")[:-2])
    assert not label[:2].any()


@pytest.mark.parametrize("name", ["metres", "microns", "one_thing_behind_another"])
def test_other_units_become_millimetres(corpus, name):
    for part in ("images", "labels"):
        volume = mended(corpus, name, part)
        np.testing.assert_allclose(volume.affine, AFFINE, atol=1e-4)
        assert volume.header.get_xyzt_units()[0] == "mm"


def test_both_forms_hold_the_affine_in_force(corpus):
    for name in ("forms_that_disagree", "quaternion_that_is_no_rotation", "spacing_of_zero"):
        image = mended(corpus, name, "images")
        np.testing.assert_allclose(image.get_sform(), AFFINE, atol=1e-4)
        np.testing.assert_allclose(image.get_qform(), AFFINE, atol=1e-4)
        np.testing.assert_allclose(image.header.get_zooms(), (3.0, 3.0, 4.5), rtol=1e-6)


def test_what_is_not_finite_becomes_the_smallest_value(corpus):
    array, _ = crop(list(KINDS).index("not_finite"))
    image = np.asarray(mended(corpus, "not_finite", "images").dataobj)
    assert image[3, 4, 5] == image[3, 4, 6] == image.min() == array.min() + 0.5


def test_the_page_needs_nothing_from_elsewhere(corpus):
    page = (corpus[1] / "doctor.html").read_text()
    assert "data:image/png;base64," in page
    assert "<script" not in page
    assert "http" not in page
    for name in KINDS:
        assert name in page


def test_a_sound_data_set_ends_with_zero_and_warnings_count_only_when_strict(tmp_path, monkeypatch):
    for number, name in enumerate("abc"):
        make_case(tmp_path / "data", name, number)
    rewrite(tmp_path / "data" / "labels" / "c.nii", np.zeros_like)
    assert segfocal(monkeypatch, "doctor", tmp_path / "data", f"output={tmp_path / 'out'}") == 0
    assert found_in(tmp_path / "out") == {"c": {"empty_label"}}
    assert segfocal(monkeypatch, "doctor", tmp_path / "data", f"output={tmp_path / 'strict'}", "strict=true") == 1
    assert segfocal(monkeypatch, "doctor", tmp_path / "data", f"output={tmp_path / 'out'}") == 1  # exists


def test_a_list_that_training_refuses_is_examined_all_the_same(tmp_path, monkeypatch):
    folder = tmp_path / "data"
    for number, name in enumerate(["a", "b", "c", "d"]):
        make_case(folder, name, number)
    (folder / "labels" / "a.nii").unlink()
    (folder / "images" / "b.nii").unlink()
    (folder / "images" / "d.nii.gz").write_bytes(b"")
    assert segfocal(monkeypatch, "doctor", folder, f"output={tmp_path / 'out'}") == 1
    found = found_in(tmp_path / "out")
    assert found == {
        "a": {"missing_file"},
        "b": {"label_without_image"},
        "d": {"name_twice", "empty_file", "same_label"} & found["d"],
    }
    assert {"name_twice", "empty_file"} <= found["d"]


def test_the_same_voxels_in_two_splits_are_a_leak_whatever_their_type(tmp_path, monkeypatch):
    folder = tmp_path / "data"
    for number, name in enumerate(["a", "b", "c", "d"]):
        make_case(folder, name, number)
    for part in ("images", "labels"):
        copied = folder / part / "b.nii"
        copied.write_bytes((folder / part / "a.nii").read_bytes())
        rewrite(copied, dtype=np.float32)
    (folder / "images" / "d.nii").write_bytes((folder / "images" / "c.nii").read_bytes())
    rows = [
        f"{name},images/{name}.nii,labels/{name}.nii,{split}"
        for name, split in zip("abcd", ["train", "test", "", ""], strict=True)
    ]
    (folder / "cases.csv").write_text("\n".join(["name,image,label,split", *rows, "e,images/a.nii,labels/c.nii,"]))
    assert segfocal(monkeypatch, "doctor", folder / "cases.csv", f"output={tmp_path / 'out'}") == 1
    rows = json.loads((tmp_path / "out" / "doctor.json").read_text())["findings"]
    checks = [row["check"] for row in rows]
    assert checks.count("leak") == 1
    assert checks.count("duplicate") == 1
    assert checks.count("file_twice") == 1


def test_mended_copies_never_take_the_place_of_originals(tmp_path, monkeypatch, capsys):
    make_case(tmp_path, "a", 0)
    before = hashes(tmp_path)
    code = segfocal(monkeypatch, "doctor", tmp_path, f"output={tmp_path}", "fix=true", "overwrite=true")
    assert code == 1
    assert "an output folder apart from the data" in capsys.readouterr().err
    assert hashes(tmp_path) == before


def test_same_shape_takes_the_header_of_the_image_however_far_apart(tmp_path, monkeypatch):
    _, label = make_case(tmp_path / "data", "a", 0)
    truth = np.asarray(nib.load(label).dataobj).copy()
    rewrite(label, affine=np.eye(4))
    options = ("fix=true", "same_shape=true", f"output={tmp_path / 'out'}")
    segfocal(monkeypatch, "doctor", tmp_path / "data", *options)
    mended = nib.load(tmp_path / "out" / "labels" / "a.nii.gz")
    np.testing.assert_array_equal(np.asarray(mended.dataobj), truth)
    np.testing.assert_allclose(mended.affine, AFFINE, atol=1e-4)


def test_the_documented_table_is_that_of_the_checks():
    page = (ROOT / "docs" / "doctor.md").read_text()
    rows = [f"| `{name}` | {c.severity} | {c.finds} | {c.do} | {c.mended} |" for name, c in CHECKS.items()]
    assert [line for line in page.splitlines() if line.startswith("| `")] == rows


def test_channels_are_examined_and_mended_each(tmp_path, monkeypatch):
    for name in ("imagesTr", "labelsTr"):
        (tmp_path / "data" / name).mkdir(parents=True)
    for number, name in enumerate("ab"):
        image, label = make_case(tmp_path / "raw", name, number)
        for channel in range(2):
            (tmp_path / "data" / "imagesTr" / f"{name}_{channel:04d}.nii").write_bytes(image.read_bytes())
        (tmp_path / "data" / "labelsTr" / f"{name}.nii").write_bytes(label.read_bytes())
    (tmp_path / "data" / "dataset.json").write_text('{"channel_names": {"0": "CT", "1": "PET"}, "labels": {"one": 1}}')
    KINDS["not_finite"].spoil(tmp_path / "data" / "imagesTr" / "a_0001.nii", None)
    KINDS["label_moved_far"].spoil(None, tmp_path / "data" / "imagesTr" / "b_0001.nii")
    assert segfocal(monkeypatch, "doctor", tmp_path / "data", f"output={tmp_path / 'out'}", "fix=true") == 1
    found = found_in(tmp_path / "out")
    assert found["a"] == {"not_finite", "unknown_value"}
    assert found["b"] == {"channel_grid", "unknown_value"}
    assert (tmp_path / "out" / "images" / "a_0001.nii.gz").is_file()
