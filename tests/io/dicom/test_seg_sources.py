"""Segmentations of series with the headers that scanners and anonymisers leave: written, or refused before any work."""

import warnings

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom")
highdicom = pytest.importorskip("highdicom")
from segfocal.errors import UserError  # noqa: E402
from segfocal.grid import Volume  # noqa: E402
from segfocal.io import dicom, volumes  # noqa: E402
from segfocal.io.dicom.seg_sources import ValuesLeftEmpty  # noqa: E402
from tests.dicom import make_series  # noqa: E402
from tests.io.dicom.drawn_labels import label_map, write_seg  # noqa: E402

pytestmark = pytest.mark.filterwarnings("error", "ignore:Invalid value for VR|The value length|Unknown|Incorrect value")


def segmented(folder, **options):
    """Write the segmentation of a series with these headers, checked before as `predict` does; return what it says."""
    series = make_series(folder / "s", **options)
    volumes.check_output(folder / "mask.dcm", like=series)
    grid = dicom.read_grid(series)
    labels = label_map(grid)
    path = write_seg(folder / "mask.dcm", series, labels)
    back = volumes.read_labels(path, on=grid, values={"liver": 3, "spleen": 7})
    np.testing.assert_array_equal(back.array, labels)
    return pydicom.dcmread(path)


NAMES = {
    "japanese": (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    "korean": (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
    "chinese": ("GB18030", "王^小东"),
    "latin": ("ISO_IR 100", "Müller^Jürgen"),
    "utf-8": ("ISO_IR 192", "Müller^Jürgen=山田"),
    "none": (None, "Doe^Jane"),
    "unknown": ("ISO_IR 999", "Doe^Jane"),
}


@pytest.mark.parametrize("kind", NAMES)
def test_names_in_every_character_set_are_copied(tmp_path, kind):
    characters, name = NAMES[kind]
    code = pydicom.Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "1", "L", name.split("=")[-1]
    headers = {"SpecificCharacterSet": characters} if characters else {}
    found = segmented(tmp_path, PatientName=name, ProcedureCodeSequence=[code], **headers)
    assert str(found.PatientName) == name
    assert found.ProcedureCodeSequence[0].CodeMeaning == name.split("=")[-1]


def test_structures_may_be_named_in_any_script_at_any_length(tmp_path):
    series = make_series(tmp_path / "s")
    grid = dicom.read_grid(series)
    labels = np.random.default_rng(0).integers(0, 5, grid.shape).astype(np.uint8)
    names = {1: "Läsion 肝", 2: "x" * 70 + "1", 3: "x" * 70 + "2", 4: "a\\b\nc"}
    volumes.write(tmp_path / "mask.dcm", Volume(array=labels, grid=grid), like=series, names=names)
    found = [one.SegmentLabel for one in pydicom.dcmread(tmp_path / "mask.dcm").SegmentSequence]
    assert found == ["Läsion 肝", "x" * 64, "x" * 60 + "_2", "a_b_c"]
    np.testing.assert_array_equal(volumes.read_labels(tmp_path / "mask.dcm", on=grid).array, labels)


EMPTIED = {
    "StudyDate": ["00000000", "2020-01-02", "20201301", ["20200101", "20200102"]],
    "PatientBirthDate": ["00000000", "1990-01-01", "unknown"],
    "StudyTime": ["25:61", "noon"],
    "PatientSex": ["U", "f", "FEMALE", ["M", "F"]],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in EMPTIED.items() for value in values])
def test_a_value_that_is_none_is_left_empty_and_named(tmp_path, name, value):
    with pytest.warns(ValuesLeftEmpty, match=f"left empty in the segmentation.*: {name}$") as told:
        found = segmented(tmp_path, **{name: value})
    assert len([one for one in told if one.category is ValuesLeftEmpty]) == 1
    assert not found[name].value
    assert found.PatientID == "p1"


KEPT = {
    "PatientAge": "12",
    "PatientName": "a^b^c^d^e^f^g^h",
    "PatientID": "i" * 100,
    "StudyDescription": "x" * 100,
    "AccessionNumber": "a" * 30,
    "PatientWeight": "NaN",
    "PregnancyStatus": 9,
    "StudyInstanceUID": "1.2.abc",
    "PatientComments": "a\nb",
}


@pytest.mark.parametrize("name", KEPT)
def test_other_values_are_copied_as_they_are(tmp_path, name):
    with warnings.catch_warnings():
        warnings.simplefilter("error", ValuesLeftEmpty)
        assert str(segmented(tmp_path, **{name: KEPT[name]})[name].value).lower() == str(KEPT[name]).lower()


def test_a_number_that_is_text_is_copied_as_it_is(tmp_path):
    series = make_series(tmp_path / "s", PatientWeight="80.5")
    for file in series.iterdir():
        file.write_bytes(file.read_bytes().replace(b"80.5", b"80kg"))
    path = write_seg(tmp_path / "mask.dcm", series, label_map(dicom.read_grid(series)))
    assert b"80kg" in path.read_bytes()


@pytest.mark.parametrize("thickness", [None, "", 0])
def test_a_slice_without_a_thickness_is_as_thick_as_the_next_is_far(tmp_path, thickness):
    found = segmented(tmp_path, SliceThickness=thickness)
    (measures,) = found.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
    assert measures.SliceThickness == 2.5


def test_directions_and_spacing_that_differ_by_rounding_are_those_of_the_first(tmp_path):
    def tilted(index, dataset):
        dataset.ImageOrientationPatient = [1, 1e-9 * index, 0, 0, 1, 0]
        dataset.PixelSpacing = [0.8 + 1e-9 * index, 0.6]

    segmented(tmp_path, change=tilted)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda i, one: setattr(one, "StudyInstanceUID", f"1.2.{i}"), "StudyInstanceUID.*found another one than"),
        (lambda i, one: setattr(one, "FrameOfReferenceUID", f"1.2.{i}"), "FrameOfReferenceUID.*found another one than"),
        (lambda i, one: setattr(one, "SOPInstanceUID", "1.2.3"), "SOPInstanceUID.*found that of a slice before"),
        (lambda i, one: i and setattr(one, "SOPInstanceUID", ""), "SOPInstanceUID.*found an empty one"),
        (
            lambda i, one: setattr(one, "SOPClassUID", "1.2.840.10008.5.1.4.1.1.4.9"),
            r"a DICOM segmentation can refer to; found some that highdicom refuses .*1\.1\.4\.9",
        ),
    ],
)
def test_what_no_segmentation_can_refer_to_is_refused_before_any_work(tmp_path, change, words):
    series = make_series(tmp_path / "s", change=lambda i, one: change(i, one) and None)
    with pytest.raises(UserError, match=words) as caught:
        volumes.check_output(tmp_path / "mask.dcm", like=series)
    assert "\n" not in str(caught.value)
    assert "damaged" not in str(caught.value)
