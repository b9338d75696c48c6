"""The bytes of a DICOM file held against what it promises: none is cut short, none unpacks to more than it says.

Six megabytes may hold six gigabytes: what a header promises is held against file and memory before it is allocated.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from segfocal.errors import Fault, UserError
from segfocal.memory import check_available

PREAMBLE, HEAD = 128, 2048  # bytes before "DICM"; bytes that hold the file's own group of elements
_LONG = (b"OB", b"OW", b"UN", b"SQ", b"UT")  # value representations whose length takes four bytes
_SYNTAX, _UNDEFINED = 0x10, 0xFFFFFFFF
_PLAIN, _DEFLATED = b"1.2.840.10008.1.2.1", b"1.2.840.10008.1.2.1.99"
_RUN_LENGTH = "1.2.840.10008.1.2.5"
_JPEG = "1.2.840.10008.1.2.4"
_HEADER_BYTES = 64 << 20  # of a deflated file: headers of a thousand frames take a few
_MOST_OF_DEFLATE, _MOST_OF_RUNS = 1032, 64  # bytes that one byte may stand for


def file_group(head: bytes) -> tuple[dict[int, bytes], int]:
    """Return the elements of group 2 by number, and where it ends: explicit and little-endian in every DICOM file.

    Of a file that is cut short in that group, it ends behind the file.
    """
    at, found = PREAMBLE + 4, dict[int, bytes]()
    while at + 12 <= len(head):
        group, element, kind, length = struct.unpack_from("<HH2sH", head, at)
        if group != 2:
            break
        at += 8
        if kind in _LONG:
            (length,) = struct.unpack_from("<I", head, at)
            at += 4
        found[element] = head[at : at + length].rstrip(b"\0 ")
        at += length
    return found, at


def opened(path: Path, *, pixels: int = 0) -> Path | io.BytesIO:
    """Return what pydicom may read a file from: itself, or of a deflated one its bytes inflated.

    pixels: bytes of pixels that its header promises. Of a header alone as much is inflated as a header may take.

    Raises:
        UserError: it inflates to more than that.
    """
    with path.open("rb") as file:
        head = file.read(HEAD)
        elements, end = file_group(head)
        if elements.get(_SYNTAX) != _DEFLATED:
            return path
        file.seek(end)
        packed = file.read()
    most, inflate = _HEADER_BYTES + pixels, zlib.decompressobj(-zlib.MAX_WBITS)
    content = inflate.decompress(packed, most)
    if pixels and not inflate.eof and inflate.decompress(inflate.unconsumed_tail, 1):
        raise _damaged(f"more than the {most} bytes that its header promises", path)
    plain = head[:end].replace(_DEFLATED, _PLAIN.ljust(len(_DEFLATED), b"\0"))
    return io.BytesIO(plain + content)


def promised_bytes(elements: Any) -> int:
    """Return the bytes that the pixels of a header take when they are unpacked."""
    bits = int(elements.get("BitsAllocated") or 0) * int(elements.get("SamplesPerPixel") or 1)
    pixels = int(elements.get("Rows") or 0) * int(elements.get("Columns") or 0)
    return -(-pixels * int(elements.get("NumberOfFrames") or 1) * bits // 8)


def check_promise(elements: Any, path: Path, *, deflated: bool = False) -> int:
    """Return the bytes of pixels that a header promises; UserError where the file or the memory cannot hold them."""
    promised, size = promised_bytes(elements), path.stat().st_size
    syntax = str(elements.file_meta.get("TransferSyntaxUID") or "")
    if deflated or syntax == _RUN_LENGTH:
        size *= _MOST_OF_DEFLATE if deflated else _MOST_OF_RUNS
    elif syntax.startswith(_JPEG):  # and others, which have no such limit
        size = promised
    if promised > size:
        raise _damaged(f"a header that promises {promised} bytes of pixels, and {size} at most", path)
    check_available(promised, where=path, what=f"a file of {promised} bytes of pixels")
    return promised


def check_lengths(elements: Any, path: Path, *, inside: Sequence[str] = ()) -> None:
    """Raise UserError where an element has fewer bytes than its length says; pydicom passes over that.

    Args:
        elements: a dataset that was read and whose elements were not asked for yet.
        path: its file.
        inside: sequences to look into as well, through all that they hold.
    """
    for tag in list(elements.keys()):
        raw = elements.get_item(tag)
        given, length = getattr(raw, "value", None), getattr(raw, "length", _UNDEFINED)
        if isinstance(given, bytes) and length not in (len(given), _UNDEFINED):
            raise _damaged(f"{len(given)} of the {length} bytes of element {tag}", path)
    for name in inside:
        pending = list(elements.get(name) or [])
        while pending:
            item = pending.pop()
            check_lengths(item, path)
            pending += [one for element in item if element.VR == "SQ" for one in element.value]


def _damaged(found: str, path: Path) -> UserError:
    return UserError(
        expected="a whole DICOM file", found=found, where=path, do="copy or export the file again", fault=Fault.DAMAGED
    )
