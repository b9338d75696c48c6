"""PNG pictures in and out, as volumes of one slice.

A picture has no spacing and no place in a patient. Its grid is nominal: pixels of 1 mm, columns growing to the
patient's left and rows to the back, as an axial slice lies in DICOM, so that the frame SPL leaves both as they are.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segfocal.errors import Fault, UserError
from segfocal.files import check_new, check_regular, written_beside
from segfocal.grid import Grid, Volume
from segfocal.memory import check_available

SUFFIX = ".png"
_HEADER = struct.Struct(">8sxxxx4sIIBB")  # signature, name of the first chunk, width, height, depth, kind of pixel
_MOST_PIXELS = 178_956_970  # of a picture: Pillow takes more for an attack
_MOST_OF_DEFLATE = 1032  # bytes that one byte may stand for
_BYTES_A_PIXEL = 12  # four channels, luminance, float32, and a copy while it is turned
_GREY, _PALETTE = (0, 4), 3  # the kinds of pixel that PNG numbers so; the others are RGB


def is_png(path: str | Path) -> bool:
    """Return whether a file is named as a PNG."""
    return Path(path).suffix.lower() == SUFFIX


def read(path: str | Path) -> Volume:
    """Read a picture as float32 grey levels [x,y,1] in 0…255 with its nominal grid.

    Colours become their luminance (0.299 R + 0.587 G + 0.114 B); transparency is dropped.

    Raises:
        UserError: the file is missing, damaged, no PNG, or not of 8 bits.
    """
    path = Path(path)
    size, kind = _header(path)
    with _decoded(path, size) as picture:
        grey = picture.convert("L") if kind in _GREY else picture.convert("RGB").convert("L")
        return _volume(np.asarray(grey, dtype=np.float32))


def read_labels(path: str | Path) -> Volume:
    """Read a mask or label map as uint8 [x,y,1]: its grey levels, of a picture with a palette the indices into it.

    Raises:
        UserError: as `read`, and when a pixel is coloured.
    """
    path = Path(path)
    size, kind = _header(path)
    with _decoded(path, size) as picture:
        if kind in _GREY:
            return _volume(np.asarray(picture.convert("L")))
        if kind == _PALETTE:
            return _volume(np.asarray(picture, dtype=np.uint8))
        channels = np.asarray(picture.convert("RGB"))
    coloured = (channels != channels[..., :1]).any(2)
    if coloured.any():
        y, x = (int(n) for n in np.argwhere(coloured)[0])
        raise UserError(
            expected="a mask of grey levels",
            found=f"the colour {tuple(channels[y, x].tolist())} at column {x}, row {y}",
            where=path,
            do="save it as an 8-bit grey picture, a level a structure",
        )
    return _volume(channels[..., 0])


def read_grid(path: str | Path) -> Grid:
    """Read a picture's nominal grid without its pixels.

    Raises:
        UserError: as `read`, but damage among the pixels goes unseen.
    """
    (width, height), _ = _header(Path(path))
    return _grid(width, height)


def write(path: str | Path, labels: Volume, *, like: str | Path, overwrite: bool = False) -> None:
    """Write a label map as an 8-bit grey picture, a level a structure. The file appears complete or not at all.

    Args:
        path: ends in .png.
        labels: [x,y,1], values 0…255.
        like: the picture it belongs to, of the same size.
        overwrite: replace a file that exists.

    Raises:
        UserError: the sizes differ, a label value does not fit 8 bits, `path` exists and overwrite is False, or it
            cannot be written.
    """
    path = Path(path)
    check_new(path, overwrite=overwrite)
    difference = read_grid(like).difference(labels.grid)
    if difference:
        raise UserError(expected="a mask of the picture's size", found=difference, where=like, do="resample it first")
    low, high = int(labels.array.min()), int(labels.array.max())
    if low < 0 or high > 255:
        raise UserError(
            expected="label values from 0 to 255 for a PNG mask",
            found=f"values from {low} to {high}",
            where=path,
            do="train on structures of smaller values",
        )
    with written_beside(path) as temporary:
        Image.fromarray(np.ascontiguousarray(labels.array[:, :, 0].T, dtype=np.uint8)).save(temporary, format="PNG")


def _volume(rows: NDArray) -> Volume:
    """Return pixels [h,w] as a volume [x,y,1]."""
    height, width = rows.shape
    return Volume(array=rows.T[:, :, None], grid=_grid(width, height))


def _grid(width: int, height: int) -> Grid:
    return Grid(shape=(width, height, 1), affine=np.diag([-1.0, -1.0, 1.0, 1.0]))


def _header(path: Path) -> tuple[tuple[int, int], int]:
    """Return a picture's size (w, h) and kind of pixels by its header; Pillow hides that it cuts 16 bits to 8."""
    check_regular(path, expected="a PNG file")
    try:
        with path.open("rb") as file:
            start = file.read(_HEADER.size)
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        found = "no such file" if missing else error.strerror or str(error)
        fault = Fault.MISSING if missing else Fault.OTHER
        raise UserError(expected="a PNG file", found=found, where=path, do="check the path", fault=fault) from error
    if len(start) < _HEADER.size or not start.startswith(b"\x89PNG\r\n\x1a\n"):
        raise UserError(
            expected="a PNG file", found="other bytes", where=path, do="convert it to PNG, or give it its own ending"
        )
    _, _, width, height, depth, kind = _HEADER.unpack(start)
    if depth != 8 and not (depth == 1 and kind in _GREY) and kind != _PALETTE:
        raise UserError(
            expected="8 bits a pixel and channel",
            found=f"{depth} bits",
            where=path,
            do="scale the grey levels to 0…255 and save it as an 8-bit PNG, or keep scans as NIfTI",
        )
    return (width, height), kind


@contextmanager
def _decoded(path: Path, size: tuple[int, int]) -> Iterator[Image.Image]:
    """Yield a picture with its pixels in memory; every way one fails is one message.

    size: w, h by its header, which is held against file and memory before the pixels are unpacked.
    """
    _check_promise(path, size)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # its size was checked
            with Image.open(path, formats=("PNG",)) as picture:
                picture.load()
    except (
        OSError,
        SyntaxError,
        ValueError,
        EOFError,
        struct.error,
        zlib.error,
        Image.DecompressionBombError,
    ) as error:
        if "MAX_TEXT" in str(error) or "too large" in str(error):
            raise UserError(
                expected="a PNG file with at most 1 MiB of text or of a colour profile",
                found=str(error),
                where=path,
                do="save the picture again without them",
            ) from error
        raise _damaged(path, f"that are damaged or cut short ({error})") from error
    yield picture


def _check_promise(path: Path, size: tuple[int, int]) -> None:
    """Raise UserError where the pixels of a header cannot be in its file, or are more than is read or fits."""
    pixels = size[0] * size[1]
    if pixels > _MOST_PIXELS:
        raise UserError(
            expected=f"a picture of at most {_MOST_PIXELS / 1e6:.0f} million pixels",
            found=f"{size[0]}×{size[1]}",
            where=path,
            do="cut it into tiles",
        )
    if pixels / 8 > path.stat().st_size * _MOST_OF_DEFLATE:
        raise _damaged(path, f"for the {size[0]}×{size[1]} pixels of its header")
    check_available(pixels * _BYTES_A_PIXEL, where=path, what=f"a picture of {size[0]}×{size[1]} pixels")


def _damaged(path: Path, found: str) -> UserError:
    return UserError(
        expected="a whole PNG file",
        found=f"{path.stat().st_size} bytes {found}",
        where=path,
        do="copy or convert the picture again",
        fault=Fault.DAMAGED,
    )
