"""The header of a NIfTI file: as it is, sound or not (`read_raw_header`), or checked (`read_header`).

It is checked against the bytes of the file before memory is taken for a voxel.
"""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import nibabel as nib
import numpy as np
from isal import isal_zlib
from nibabel.filebasedimages import ImageFileError
from nibabel.imageglobals import LoggingOutputSuppressor
from nibabel.spatialimages import HeaderDataError

from segfocal.errors import Fault, UserError
from segfocal.files import check_regular
from segfocal.grid import Grid

SUFFIXES = (".nii.gz", ".nii")
_DAMAGE: tuple[type[Exception], ...] = (  # what reading a damaged file raises
    ImageFileError,
    HeaderDataError,
    EOFError,
    zlib.error,
    cast("type[Exception]", isal_zlib.error),
    OSError,
    ValueError,
    OverflowError,
)
GZIP = b"\x1f\x8b"
_SIZES = {348: nib.Nifti1Header, 540: nib.Nifti2Header}
_MAGIC = {348: b"n+1", 540: b"n+2"}
_EXTENDED = 4  # bytes after the header that say whether an extension follows
_READ, _HEADER = 1 << 16, 1024  # bytes of a file that hold any header, packed or not; bytes that hold one
_MOST_PACKED = 1032  # gzip makes no more than so many bytes of one
UNITS = {0: "unknown", 1: "m", 2: "mm", 3: "micron"}


class TrailingBytesError(OSError):
    """After a complete gzip content a file goes on with bytes that are not gzip."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RawHeader:
    """What a header says, whether it makes sense or not. `geometry.py` says where it puts voxels.

    Args:
        path: the file.
        fields: nibabel's header, unchecked.
        packed: the content is gzip, whatever the name says.
        size: bytes of the file on disk.
    """

    path: Path
    fields: Any
    packed: bool
    size: int

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes of all axes that the header counts; () where it counts fewer than none or more than seven."""
        dim = [int(n) for n in self.fields["dim"]]
        return tuple(dim[1 : 1 + dim[0]]) if 0 <= dim[0] <= 7 else ()

    @property
    def dtype(self) -> np.dtype | None:
        """The type of a voxel, None where the header names none."""
        try:
            return self.fields.get_data_dtype()
        except (HeaderDataError, KeyError):
            return None

    @property
    def type_name(self) -> str:
        """The type of a voxel in words."""
        try:
            return str(self.fields.get_value_label("datatype"))
        except (KeyError, ValueError):
            return f"code {int(self.fields['datatype'])}"

    @property
    def pixdim(self) -> tuple[float, float, float]:
        """The spacing along the first three axes as the header has it, apart from the affines."""
        x, y, z = (float(value) for value in self.fields["pixdim"][1:4])
        return x, y, z

    @property
    def units(self) -> str:
        """The unit of space: m, mm, micron or unknown."""
        return UNITS.get(int(self.fields["xyzt_units"]) % 8, "unknown")

    @property
    def codes(self) -> tuple[int, int]:
        """The codes of sform and qform; 0 is not set."""
        return int(self.fields["sform_code"]), int(self.fields["qform_code"])

    @property
    def offset(self) -> float:
        """The byte, of the unpacked content, where the voxels begin; a header that leaves it 0 means its own end."""
        given = float(self.fields["vox_offset"])
        return given or float(self.fields.sizeof_hdr + _EXTENDED)

    @property
    def promised(self) -> int:
        """The bytes that the voxels take if the header is right."""
        return math.prod(self.shape) * (self.dtype.itemsize if self.dtype is not None else 1)

    @property
    def byte_order(self) -> str:
        """ "<" or ">"."""
        return str(self.fields.endianness)


def read_raw_header(path: str | Path) -> RawHeader:
    """Read a header without judging it, packed or not whatever the name says.

    Raises:
        UserError: no such file, a folder, one that cannot be read or is empty, or no NIfTI header in it.
    """
    path = Path(path)
    if path.is_dir():
        raise UserError(expected="a NIfTI file", found="a folder without DICOM slices", where=path, do="check the path")
    check_regular(path, expected="a NIfTI file")
    if not path.is_file():
        raise UserError(
            expected="a NIfTI file", found="no such file", where=path, do="check the path", fault=Fault.MISSING
        )
    with readable(path):
        with path.open("rb") as file:
            start = file.read(_READ)
        packed = start.startswith(GZIP)
        content = zlib.decompressobj(wbits=31).decompress(start, _HEADER) if packed else start
        return RawHeader(path=path, fields=_fields(content), packed=packed, size=path.stat().st_size)


def _fields(content: bytes) -> Any:
    """Return nibabel's header of a content that begins with one, unchecked; ValueError where it does not."""
    for order in ("<", ">"):
        size = int(np.frombuffer(content[:4].ljust(4, b"\0"), f"{order}i4")[0])
        if size in _SIZES:
            if len(content) < size:
                raise ValueError("it ends within the header")
            if content[4:7] != _MAGIC[size] and content[344:347] != _MAGIC[size]:
                raise ValueError("no mark of a NIfTI file of one part")
            return _SIZES[size](content[:size], endianness=order, check=False)
    raise ValueError("no NIfTI header")


def read_header(path: str | Path) -> RawHeader:
    """Read a header and refuse one by which voxels cannot be read, so that nothing is reserved for a false promise.

    Raises:
        UserError: as `read_raw_header`; the name has another ending, or does not say whether the file is packed; sizes,
            type or place of the voxels make no sense, or the file cannot hold them.
    """
    path = Path(path)
    if path.is_file():
        check_suffix(path)
    header = read_raw_header(path)
    with readable(path), LoggingOutputSuppressor():  # what nibabel would set right in passing
        type(header.fields)(header.fields.binaryblock, header.byte_order, check=True)
        problem = _problem(header)
        if problem:
            raise ValueError(problem)
    return header


def header_of(grid: Grid, path: Path) -> RawHeader:
    """Return the header of a scan of another format: in mm, in the coordinates of its scanner (code 1)."""
    image = nib.Nifti1Image(np.broadcast_to(np.uint8(0), grid.shape), grid.affine)
    for form in (image.set_sform, image.set_qform):
        form(grid.affine, 1)
    image.header.set_xyzt_units("mm")
    return RawHeader(path=path, fields=image.header, packed=False, size=0)


def _problem(header: RawHeader) -> str | None:
    """Say why voxels cannot be read by a header, or return None."""
    named = header.path.suffix.lower() == ".gz"
    if header.packed != named:
        return "it is not packed as its name says" if named else "it is packed, and its name lacks .gz"
    if not header.shape or min(header.shape) < 0:
        return f"no sizes: {header.fields['dim'].tolist()}"
    if header.dtype is None:
        return f"no type of voxels: {header.type_name}"
    smallest = header.fields.sizeof_hdr + _EXTENDED
    if not math.isfinite(header.offset) or header.offset < smallest:
        return f"voxels that begin at byte {header.offset:g}"
    end = header.offset + header.promised
    if end > header.size * (_MOST_PACKED if header.packed else 1):
        return f"it promises {end:.6g} bytes"
    return None


def is_nifti(path: str | Path) -> bool:
    """Return whether a path is named as a NIfTI file, in any case of letters: scanners write .NII.GZ too."""
    return str(path).lower().endswith(SUFFIXES)


def check_suffix(path: Path) -> None:
    """Raise UserError unless `path` is named as a NIfTI file."""
    if not is_nifti(path):
        raise UserError(expected="a file name ending in .nii.gz or .nii", found=path.name, do="choose such a name")


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn every way a damaged file fails, and one too large for the memory, into one message."""
    try:
        yield
    except _DAMAGE as error:
        found, do, fault = (
            f"{os.path.getsize(path)} bytes that are damaged or cut short ({_first_line(error)})",
            "copy or convert the scan again",
            Fault.DAMAGED,
        )
        if isinstance(error, PermissionError):
            found, fault = "no permission to read it", Fault.OTHER
        elif isinstance(error, TrailingBytesError):
            found, do, fault = (
                "other bytes after the end of a gzip content that is whole",
                "unpack and pack it again, or let the doctor do so (fix=true)",
                Fault.TRAILING_BYTES,
            )
        raise UserError(expected="a whole NIfTI file", found=found, where=path, do=do, fault=fault) from error
    except MemoryError as error:
        raise UserError(
            expected="a volume that fits into memory",
            found=f"{os.path.getsize(path)} bytes that unpack to more",
            where=path,
            do="crop or resample it, or use a machine with more memory",
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")[:120]
