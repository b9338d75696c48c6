"""What a DICOM header promises is held against the file and the memory before anything is allocated."""

import time
import tracemalloc
import zlib

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom")
pytest.importorskip("highdicom")
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless, RLELossless  # noqa: E402

from segfocal import memory  # noqa: E402
from segfocal.errors import UserError  # noqa: E402
from segfocal.io import dicom, volumes  # noqa: E402
from tests.dicom import make_series, make_structure_set, stored_values  # noqa: E402
from tests.io.dicom.drawn_labels import circle, label_map, write_seg  # noqa: E402


def deflated(index, dataset):
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian


def refused(words, read, *places, seconds=5.0, mib=200):
    """Check that reading is refused in one line, at once and without much memory."""
    tracemalloc.start()
    started = time.process_time()
    try:
        with pytest.raises(UserError, match=words) as caught:
            read(*places)
        assert tracemalloc.get_traced_memory()[1] < mib << 20
    finally:
        tracemalloc.stop()
    assert time.process_time() - started < seconds
    assert "\n" not in str(caught.value)


def test_deflated_slices_are_the_uncompressed_ones(tmp_path):
    plain, packed = make_series(tmp_path / "plain"), make_series(tmp_path / "packed", change=deflated)
    np.testing.assert_array_equal(dicom.read_stored(packed).array, dicom.read_stored(plain).array)
    assert dicom.read_grid(packed).difference(dicom.read_grid(plain)) is None


def test_a_deflated_segmentation_is_read(tmp_path):
    series = make_series(tmp_path / "s")
    grid = dicom.read_grid(series)
    labels = label_map(grid)
    path = write_seg(tmp_path / "m.dcm", series, labels)
    whole = pydicom.dcmread(path)
    whole.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    whole.save_as(path)
    np.testing.assert_array_equal(volumes.read_labels(path, on=grid).array > 0, labels > 0)


def test_a_deflated_file_is_inflated_no_further_than_it_promises(tmp_path):
    """A slice of 9 × 7 pixels with 150 MB of zeros after them, in 150 KB."""
    series = make_series(tmp_path / "s", stored_values((9, 7, 1)), change=deflated)
    (file,) = series.iterdir()
    content = file.read_bytes()
    at = 132 + 12 + pydicom.filereader.read_file_meta_info(file).FileMetaInformationGroupLength
    plain = zlib.decompress(content[at:], -zlib.MAX_WBITS)
    packer = zlib.compressobj(1, wbits=-zlib.MAX_WBITS)
    zeros = bytes(1 << 20)
    packed = packer.compress(plain) + b"".join(packer.compress(zeros) for _ in range(150)) + packer.flush()
    file.write_bytes(content[:at] + packed)
    refused("more than the .* bytes that its header promises", volumes.read, series)


def test_run_lengths_cannot_promise_more_than_64_times_their_bytes(tmp_path):
    def change(index, dataset):
        dataset.compress(RLELossless)
        dataset.Rows, dataset.Columns = 30_000, 30_000

    series = make_series(tmp_path / "s", change=change)
    refused("a header that promises 1800000000 bytes of pixels, and .* at most", volumes.read, series)


def test_plain_pixels_cannot_promise_more_than_their_file(tmp_path):
    series = make_series(tmp_path / "s", Rows=60_000, Columns=60_000)
    refused("a header that promises 7200000000 bytes of pixels, and", volumes.read, series)


def test_a_series_that_does_not_fit_into_memory_is_refused_by_name(tmp_path, monkeypatch):
    def change(index, dataset):
        dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
        dataset.PixelData = pydicom.encaps.encapsulate([b"\xff\x4f" * 20])
        dataset.Rows, dataset.Columns = 20_000, 20_000

    monkeypatch.setattr(memory, "available_bytes", lambda: 1 << 30)
    series = make_series(tmp_path / "s", change=change)
    refused("a series of 20000×20000×5 voxels that fits into the 1 GiB of memory that are free", volumes.read, series)


def test_a_million_frames_need_a_million_places(tmp_path):
    series = make_series(tmp_path / "s", stored_values((9, 7, 1)), NumberOfFrames=1_000_000)
    refused("1000000 frames without functional groups", volumes.read, series)
    place, group, shared = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
    place.ImagePositionPatient, group.PlanePositionSequence = [0, 0, 0], [place]
    series = make_series(
        tmp_path / "t",
        stored_values((9, 7, 1)),
        NumberOfFrames=1_000_000,
        PerFrameFunctionalGroupsSequence=[group] * 5,
        SharedFunctionalGroupsSequence=[shared],
    )
    refused("a place for each of 1000000 frames; found 5 places", volumes.read, series)


def test_a_segmentation_of_more_frames_than_places_is_refused(tmp_path):
    series = make_series(tmp_path / "s")
    grid = dicom.read_grid(series)
    path = write_seg(tmp_path / "m.dcm", series, label_map(grid))
    whole = pydicom.dcmread(path)
    for count, words in ((10**6, "promises .* bytes of pixels"), (9, "a place for each of 9 frames; found 10 places")):
        whole.NumberOfFrames = count
        whole.save_as(path)
        refused(words, lambda: volumes.read_labels(path, on=grid))


@pytest.mark.parametrize("kind", ["contours", "segmentation", "slice"])
def test_a_file_cut_anywhere_is_refused_or_says_the_same(tmp_path, kind):
    """Also in the last digits of the last contour, which pydicom would read as another place."""
    series = make_series(tmp_path / "s", stored_values((20, 14, 2)))
    grid = dicom.read_grid(series)
    first = pydicom.dcmread(min(series.iterdir()))
    if kind == "contours":
        path = make_structure_set(tmp_path / "rs.dcm", first, {"x": [circle((-6, -16), 3.3, 30.0, count=9)]})
    elif kind == "segmentation":
        path = write_seg(tmp_path / "m.dcm", series, label_map(grid))
    else:
        path = min(series.iterdir())
    read = (lambda: volumes.read(series)) if kind == "slice" else (lambda: volumes.read_labels(path, on=grid))
    content, right = path.read_bytes(), read().array
    cuts = {*range(len(content) - 40, len(content)), *np.random.default_rng(0).integers(132, len(content), 60).tolist()}
    told = []
    for size in sorted(cuts):
        path.write_bytes(content[:size])
        try:
            np.testing.assert_array_equal(read().array, right)
        except UserError as error:
            told.append(str(error))
    assert len(told) > 90
    assert not any("\n" in message for message in told)
