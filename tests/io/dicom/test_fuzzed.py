"""Damaged DICOM files, bits flipped and pieces lost, are read or refused in one line, never a traceback."""

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom")
pytest.importorskip("highdicom")
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless  # noqa: E402

from segfocal.errors import UserError  # noqa: E402
from segfocal.io import dicom, volumes  # noqa: E402
from segfocal.io.dicom import labels as dicom_labels  # noqa: E402
from tests.dicom import make_series, make_structure_set, stored_values  # noqa: E402
from tests.io.dicom.drawn_labels import circle, label_map, write_seg  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "error::RuntimeWarning")


def spoilt(content, rng):
    """Return bytes with one to three flips, changes of a byte, or pieces left out, doubled or cut off."""
    found = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(128, len(found)))
        size = int(rng.integers(1, 40))
        match rng.integers(0, 6):
            case 0 | 1:
                found[at] ^= 1 << int(rng.integers(8))
            case 2:
                found[at] = int(rng.choice([0, 1, 0x5C, 0x7F, 0xFE, 0xFF]))
            case 3:
                del found[at : at + size]
            case 4:
                found[at:at] = found[at : at + size]
            case 5:
                del found[max(at, len(found) - 200) :]
    return bytes(found)


def told_of(path, read, *, seed, times=200):
    """Return what reading says of that many damaged versions of a file; every one is read or refused."""
    content, rng, told = path.read_bytes(), np.random.default_rng(seed), []
    for _ in range(times):
        path.write_bytes(spoilt(content, rng))
        try:
            read()
        except UserError as error:
            told.append(str(error))
    assert not [message for message in told if "\n" in message or len(message) > 700]
    return told


@pytest.mark.parametrize("syntax", ["plain", "implicit", "deflated", "rle"])
def test_slices(tmp_path, syntax):
    def change(index, dataset):
        if syntax == "rle":
            dataset.compress(RLELossless)
        elif syntax != "plain":
            uids = {"implicit": ImplicitVRLittleEndian, "deflated": DeflatedExplicitVRLittleEndian}
            dataset.file_meta.TransferSyntaxUID = uids[syntax]

    series = make_series(tmp_path / "s", stored_values((5, 4, 3)), change=change)
    assert len(told_of(min(series.iterdir()), lambda: volumes.read(series), seed=1)) > 20


def test_structure_sets(scan, tmp_path):
    series, first = scan
    grid = dicom.read_grid(series)
    contours = [circle((1.7, -8.1), 6.0, z, count=7) for z in (30.0, 32.5)]
    path = make_structure_set(tmp_path / "rs.dcm", first, {"x": contours, "y": contours[:1]})

    def read():
        dicom_labels.reference(path)
        volumes.read_labels(path, on=grid, values={name: 3 for name in dicom_labels.names(path)})

    assert len(told_of(path, read, seed=2)) > 20


def test_segmentations(series, tmp_path):
    grid = dicom.read_grid(series)
    path = write_seg(tmp_path / "m.dcm", series, label_map(grid))

    def read():
        dicom_labels.reference(path)
        volumes.read_labels(path, on=grid)

    assert len(told_of(path, read, seed=3)) > 20
