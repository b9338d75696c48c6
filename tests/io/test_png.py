"""PNG in and out: rows and columns stay where they are, and what is not an 8-bit picture is named."""

import os
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from segfocal import memory
from segfocal.errors import UserError
from segfocal.grid import Volume
from segfocal.io import png, volumes
from tests.pictures import make_png, rows_of
from tests.scans import make_scan

H, W = 5, 7


def grey(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (H, W), dtype=np.uint8)


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def raw_png(path, *, depth, kind, channels):
    """Write a black H×W PNG of any depth by hand: Pillow saves no colour of 16 bits."""
    row = b"\0" + b"\0" * (W * channels * depth // 8)
    header = struct.pack(">IIBBBBB", W, H, depth, kind, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(row * H)), chunk(b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return path


def test_an_image_is_one_slice_whose_rows_and_columns_the_models_frame_leaves_alone(tmp_path):
    volume = png.read(make_png(tmp_path / "a.png", grey()))
    assert volume.array.shape == volume.grid.shape == (W, H, 1)
    assert volume.array.dtype == np.float32
    assert volume.grid.spacing_mm == (1.0, 1.0, 1.0)
    np.testing.assert_array_equal(volume.oriented("SPL").array, grey()[None])
    assert volume.array[6, 2, 0] == grey()[2, 6]  # x, then y


def test_a_mask_written_like_an_image_has_its_pixels_where_they_were(tmp_path):
    like, rows = make_png(tmp_path / "a.png", np.zeros((H, W), np.uint8)), grey(1)
    labels = png.read_labels(make_png(tmp_path / "labels.png", rows))
    png.write(tmp_path / "mask.png", labels, like=like)
    np.testing.assert_array_equal(rows_of(tmp_path / "mask.png"), rows)
    turned = Volume(array=rows[None], grid=labels.oriented("SPL").grid).oriented("LPS")  # as inference turns it back
    png.write(tmp_path / "turned.png", turned, like=like)
    np.testing.assert_array_equal(rows_of(tmp_path / "turned.png"), rows)


def test_a_grid_is_read_without_the_pixels(tmp_path):
    path = make_png(tmp_path / "a.png", grey())
    path.write_bytes(path.read_bytes()[:40])
    assert png.read_grid(path).shape == (W, H, 1)


def test_colours_become_luminance_and_grey_stays_grey(tmp_path):
    rgb = np.random.default_rng(2).integers(0, 256, (H, W, 3), dtype=np.uint8)
    read = png.read(make_png(tmp_path / "rgb.png", rgb)).array[:, :, 0].T
    np.testing.assert_allclose(read, rgb @ [0.299, 0.587, 0.114], atol=0.51)  # rounded to whole levels
    same = png.read(make_png(tmp_path / "same.png", np.repeat(grey()[..., None], 3, 2)))
    np.testing.assert_array_equal(same.array[:, :, 0].T, grey())


def test_transparency_is_dropped(tmp_path):
    for channels in ([grey(), grey(1)], [grey(), grey(), grey(), grey(1)]):
        path = make_png(tmp_path / "a.png", np.stack(channels, 2))
        np.testing.assert_array_equal(png.read(path).array[:, :, 0].T, grey())
        np.testing.assert_array_equal(png.read_labels(path).array[:, :, 0].T, grey())


def test_labels_are_grey_levels_palette_indices_or_one_bit(tmp_path):
    rows = grey() % 4
    np.testing.assert_array_equal(png.read_labels(make_png(tmp_path / "l.png", rows)).array[:, :, 0].T, rows)
    picture = Image.fromarray(rows, mode="P")
    picture.putpalette([10, 20, 30, 200, 0, 0, 0, 200, 0, 0, 0, 200])
    picture.save(tmp_path / "p.png")
    np.testing.assert_array_equal(png.read_labels(tmp_path / "p.png").array[:, :, 0].T, rows)
    Image.fromarray(rows > 1).save(tmp_path / "one.png")
    np.testing.assert_array_equal(png.read_labels(tmp_path / "one.png").array[:, :, 0].T, 255 * (rows > 1))
    rgb = np.repeat(rows[..., None], 3, 2)
    np.testing.assert_array_equal(png.read_labels(make_png(tmp_path / "rgb.png", rgb)).array[:, :, 0].T, rows)


def coloured(path):
    rows = np.zeros((H, W, 3), np.uint8)
    rows[2, 4] = (255, 0, 7)
    make_png(path, rows)


def cut_short(path):
    make_png(path, grey())
    path.write_bytes(path.read_bytes()[:-30])


def damaged(path):
    make_png(path, grey())
    content = bytearray(path.read_bytes())
    content[50] ^= 255
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "read", "words"),
    [
        (lambda path: None, png.read, "no such file"),
        (lambda path: path.mkdir(), png.read, "a folder"),
        (lambda path: path.write_bytes(b""), png.read, "other bytes"),
        (lambda path: Image.fromarray(grey()).save(path, format="JPEG"), png.read, "other bytes"),
        (lambda path: make_png(path, grey().astype(np.uint16)), png.read, "found 16 bits"),
        (lambda path: raw_png(path, depth=16, kind=2, channels=3), png.read_labels, "found 16 bits"),
        (lambda path: raw_png(path, depth=4, kind=0, channels=1), png.read_labels, "found 4 bits"),
        (cut_short, png.read, "damaged or cut short"),
        (damaged, png.read_labels, "damaged or cut short"),
        (coloured, png.read_labels, r"\(255, 0, 7\) at column 4, row 2"),
    ],
)
def test_a_spoiled_picture_is_named(tmp_path, spoil, read, words):
    path = tmp_path / "a.png"
    spoil(path)
    with pytest.raises(UserError, match=words) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_mask_that_cannot_be_written_is_refused_and_nothing_is_left(tmp_path):
    like = make_png(tmp_path / "in" / "a.png", grey())
    labels = png.read_labels(like)
    large = Volume(array=labels.array.astype(np.uint16) + 256, grid=labels.grid)
    with pytest.raises(UserError, match="from 0 to 255"):
        png.write(tmp_path / "mask.png", large, like=like)
    other = png.read_labels(make_png(tmp_path / "in" / "b.png", grey().T))
    with pytest.raises(UserError, match=r"shape \(5, 7, 1\) against \(7, 5, 1\)"):
        png.write(tmp_path / "mask.png", other, like=like)
    with pytest.raises(UserError, match="existing file"):
        png.write(like, labels, like=like)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_a_mask_has_the_format_of_its_image(tmp_path):
    picture = make_png(tmp_path / "a.png", grey())
    scan = make_scan(tmp_path / "a.nii.gz", np.zeros((3, 4, 2), np.int16))
    volumes.write(tmp_path / "mask.PNG", volumes.read_labels(picture), like=picture)
    volumes.write(tmp_path / "mask.nii.gz", volumes.read_labels(scan), like=scan)
    assert volumes.read_grid(tmp_path / "mask.nii.gz").difference(volumes.read(scan).grid) is None
    np.testing.assert_array_equal(rows_of(tmp_path / "mask.PNG"), grey())
    with pytest.raises(UserError, match=r"ending in \.png for a PNG input; found mask\.nii"):
        volumes.check_output("mask.nii", like=picture)
    with pytest.raises(UserError, match=r"ending in \.nii\.gz or \.nii; found mask\.png"):
        volumes.check_output("mask.png", like=scan)


@pytest.mark.parametrize("reader", [png.read, png.read_labels, png.read_grid])
def test_what_is_no_file_is_refused_at_once(tmp_path, reader):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    for name, found in (("pipe", "a pipe"), ("zero", "a device")):
        with pytest.raises(UserError, match=f"a PNG file; found {found} in"):
            reader(tmp_path / f"{name}.png")


def promising(path, width, height, *, data=b"", before=()):
    """Write a grey picture of 8 bits whose header says a size, with these bytes of pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    parts = [header, *before, chunk(b"IDAT", zlib.compress(data)), chunk(b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return path


def text_bomb(kind):
    """Return a compressed text, or a colour profile, of 20 MB of zeros."""
    packed = zlib.compress(bytes(20 << 20))
    inside = {b"zTXt": b"a\0\0", b"iTXt": b"a\0\1\0\0\0", b"iCCP": b"a\0\0"}[kind]
    return chunk(kind, inside + packed)


@pytest.mark.parametrize(
    ("width", "height", "words"),
    [
        (13_000, 13_000, "bytes for the 13000×13000 pixels of its header"),
        (30_000, 30_000, "at most 179 million pixels; found 30000×30000"),
        (2**31 - 1, 2**31 - 1, "at most 179 million pixels"),
    ],
)
@pytest.mark.parametrize("read", [png.read, png.read_labels])
def test_a_header_promises_no_more_than_its_file_can_hold(tmp_path, width, height, words, read):
    path = promising(tmp_path / "a.png", width, height, data=bytes(1000))
    with pytest.raises(UserError, match=words) as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_a_large_picture_is_read_without_a_warning_and_refused_where_memory_is_short(tmp_path, monkeypatch):
    path = promising(tmp_path / "a.png", 10_000, 9_000, data=bytes(10_001 * 9_000))
    monkeypatch.setattr(memory, "available_bytes", lambda: 1 << 30)
    with pytest.raises(UserError, match=r"10000×9000 pixels that fits into the 1 GiB .* found one that takes 1\.01"):
        png.read(path)
    monkeypatch.undo()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert png.read_labels(path).array.shape == (10_000, 9_000, 1)


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
def test_text_that_unpacks_to_megabytes_is_refused_for_what_it_is_or_passed_over(tmp_path, kind):
    path = promising(tmp_path / "a.png", 3, 2, data=bytes(8), before=[text_bomb(kind)])
    try:
        assert png.read(path).array.shape == (3, 2, 1)
    except UserError as error:
        assert "1 MiB of text" in str(error)  # noqa: PT017


def test_interlaced_pictures_are_the_others(tmp_path):
    """The seven passes of Adam7, packed by hand: pass p holds the pixels of its lattice, row by row."""
    rows = grey()
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    lines = [b"\0" + line.tobytes() for y, x, down, right in passes for line in rows[y::down, x::right] if line.size]
    header = struct.pack(">IIBBBBB", W, H, 8, 0, 0, 0, 1)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"".join(lines))), chunk(b"IEND", b"")]
    (tmp_path / "i.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    np.testing.assert_array_equal(png.read(tmp_path / "i.png").array[:, :, 0].T, rows)
    np.testing.assert_array_equal(png.read_labels(tmp_path / "i.png").array[:, :, 0].T, rows)


def test_damage_at_random_is_read_or_refused(tmp_path):
    path, rng, told = make_png(tmp_path / "a.png", grey()), np.random.default_rng(0), []
    content = path.read_bytes()
    for _ in range(300):
        damaged = bytearray(content)
        for place in rng.integers(8, len(content), rng.integers(1, 4)):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged[: rng.integers(20, len(content) + 60)])
        try:
            png.read(path)
            png.read_labels(path)
        except UserError as error:
            told.append(str(error))
    assert len(told) > 100
    assert not any("\n" in message for message in told)
