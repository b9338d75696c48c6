"""The NIfTI content of a file whose packing is not what its name says, or that has other bytes after it."""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from segfocal.io.nifti.header import RawHeader, read_raw_header, readable

_PIECE = 1 << 20


@contextmanager
def salvaged(path: Path, *, beside: Path) -> Iterator[Path]:
    """Yield a plain .nii of a file's first gzip member, or of the file if it is not packed, in a folder in `beside`.

    It ends where its header says and is gone afterwards.

    Raises:
        UserError: as `read_raw_header`, and when the packed bytes are damaged or end too soon.
    """
    header = read_raw_header(path)
    with tempfile.TemporaryDirectory(dir=beside, prefix=".") as folder:
        plain = Path(folder) / "salvaged.nii"
        with readable(path), plain.open("wb") as file:
            for piece in _content(header):
                file.write(piece)
        yield plain


def _content(header: RawHeader) -> Iterator[bytes]:
    """Yield the content piece by piece, no more than the header promises."""
    left = int(header.offset + header.promised)
    unpack = zlib.decompressobj(wbits=31) if header.packed else None
    with header.path.open("rb") as file:
        while left > 0 and (read := file.read(_PIECE)):
            rest = read
            while rest and left > 0:
                piece = unpack.decompress(rest, _PIECE) if unpack else rest
                rest = unpack.unconsumed_tail if unpack else b""
                yield piece[:left]
                left -= len(piece)
            if unpack and unpack.eof:
                break
    if left > 0:
        raise EOFError(f"{left} bytes of voxels are missing")
