"""Arrays as bytes of the nnInteractive protocol: a header that says type and shape, then blosc2 chunks.

    "NNIA" · version 1 · codec · ndim · length of the type's name · name · ndim × int64 · chunks × uint32
    and for each chunk: bytes unpacked, uint64 · bytes packed, uint64 · a blosc2 chunk

All numbers are little-endian, voxels in C order. Bytes of others are taken only as far as they agree with each other
and with a limit: nothing is allocated for a shape before that.
Source: the package nninteractive-client 2.5 and 2.6, whose own reader trusts shape and lengths.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from math import prod

import blosc2
import numpy as np
from numpy.typing import NDArray

from segfocal.errors import Fault, UserError
from segfocal.foreign.door import shown

TYPES = (
    *("bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"),
    *("float16", "float32", "float64"),
)
_START = struct.Struct("<4sBBBB")  # magic, version, codec, ndim, length of the type's name
_MAGIC, _VERSION, _ZSTD, _CODECS = b"NNIA", 1, 1, (1, 2)  # codecs ZSTD and LZ4; a chunk says its own again
_COUNT, _LENGTHS = struct.Struct("<I"), struct.Struct("<QQ")
_CHUNK_HEADER = 32  # bytes of a blosc2 chunk before its data
_CHUNK = 1 << 30  # bytes: one chunk of a reply; blosc2 takes at most 2 GiB
_DO = "send the array again, packed by nninteractive-client 2.5 or 2.6"


@dataclass(frozen=True, kw_only=True)
class ArrayLimits:
    """What an array of others may be.

    Args:
        ndim: its axes.
        most_bytes: unpacked.
        types: names of numpy types.
    """

    ndim: int
    most_bytes: int
    types: tuple[str, ...] = TYPES


def pack(array: NDArray) -> bytes:
    """Return an array, as a mask, as bytes of the protocol."""
    array = np.ascontiguousarray(array)
    array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    name = array.dtype.name.encode("ascii")
    raw = memoryview(array).cast("B")  # type: ignore[arg-type]
    starts = range(0, len(raw), _CHUNK)
    parts = [
        _START.pack(_MAGIC, _VERSION, _ZSTD, array.ndim, len(name)) + name,
        struct.pack(f"<{array.ndim}q", *array.shape),
        _COUNT.pack(len(starts)),
    ]
    for start in starts:
        part = raw[start : start + _CHUNK]
        chunk = blosc2.compress2(
            part,
            typesize=array.dtype.itemsize,
            codec=blosc2.Codec.ZSTD,
            clevel=3,
            filters=[blosc2.Filter.NOFILTER],  # masks pack best without
            nthreads=1,
        )
        parts += [_LENGTHS.pack(len(part), len(chunk)), chunk]
    return b"".join(parts)


def unpack(data: bytes | bytearray, limits: ArrayLimits, *, what: str) -> NDArray:
    """Return the array that bytes hold.

    Args:
        data: as `pack` and the client make them.
        limits: what is taken.
        what: the array in words, for messages.

    Raises:
        UserError: bytes that are not such an array, are cut short, or hold one of another type or beyond the limits
            (its fault is then TOO_LARGE).
    """
    reader = _Reader(data, what)
    dtype, shape = reader.header(limits)
    out = np.empty(shape, dtype=dtype)
    flat, filled = out.reshape(-1), 0
    for _ in range(reader.count()):
        chunk, length = reader.chunk(out.nbytes - filled, dtype.itemsize)
        part = flat[filled // dtype.itemsize : (filled + length) // dtype.itemsize]
        try:
            blosc2.decompress2(chunk, dst=part, nthreads=1)
        except (ValueError, RuntimeError) as error:
            raise reader.wrong("a blosc2 chunk", "bytes that do not unpack") from error
        filled += length
    if filled != out.nbytes:
        raise reader.wrong(f"{out.nbytes:,} bytes for an array of {_sides(shape)} {dtype}", f"{filled:,}")
    reader.check_end()
    return out


class _Reader:
    """Goes through packed bytes, and says what is wrong where they do not agree."""

    def __init__(self, data: bytes | bytearray, what: str) -> None:
        self.data, self.what, self.at = memoryview(data), what, 0

    def wrong(self, expected: str, found: str, *, fault: Fault = Fault.DAMAGED) -> UserError:
        """Return the error of an array that is not as expected."""
        return UserError(expected=expected, found=found, where=self.what, do=_DO, fault=fault)

    def take(self, length: int) -> memoryview:
        """Return a view of the next bytes; UserError where there are not so many."""
        part = self.data[self.at : self.at + length]
        if len(part) < length:
            raise self.wrong("an array in blosc2 chunks", f"{len(self.data):,} bytes, cut short")
        self.at += length
        return part

    def header(self, limits: ArrayLimits) -> tuple[np.dtype, tuple[int, ...]]:
        """Return type and shape, checked."""
        magic, version, codec, ndim, length = _START.unpack(self.take(_START.size))
        if magic != _MAGIC or version != _VERSION or codec not in _CODECS:
            expected = "an array that begins with NNIA, version 1, codec 1 or 2"
            raise self.wrong(expected, f"{shown(magic.decode('latin-1'))}, version {version}, codec {codec}")
        name = bytes(self.take(length)).decode("latin-1")
        if name not in limits.types:
            raise self.wrong(f"an array of {', '.join(limits.types)}", shown(name), fault=Fault.OTHER)
        if ndim != limits.ndim:
            raise self.wrong(f"an array of {limits.ndim} axes", f"{ndim}", fault=Fault.OTHER)
        shape = struct.unpack(f"<{ndim}q", self.take(8 * ndim))
        if min(shape) < 1:
            raise self.wrong("sides of at least 1", _sides(shape), fault=Fault.OTHER)
        dtype = np.dtype(name)
        if prod(shape) * dtype.itemsize > limits.most_bytes:
            expected, found = f"at most {limits.most_bytes:,} bytes unpacked", f"{_sides(shape)} of {name}"
            raise self.wrong(expected, found, fault=Fault.TOO_LARGE)
        return dtype, shape

    def count(self) -> int:
        """Return how many chunks follow; UserError where there are no bytes for so many."""
        (count,) = _COUNT.unpack(self.take(_COUNT.size))
        if count * (_LENGTHS.size + _CHUNK_HEADER) > len(self.data) - self.at:
            raise self.wrong("an array in blosc2 chunks", f"{count:,} chunks in {len(self.data):,} bytes, cut short")
        return int(count)

    def chunk(self, room: int, itemsize: int) -> tuple[memoryview, int]:
        """Return the next chunk and how long it is unpacked, at most the room that is left of the array."""
        unpacked, packed = _LENGTHS.unpack(self.take(_LENGTHS.size))
        chunk = self.take(packed)
        if packed < _CHUNK_HEADER:
            raise self.wrong(f"a blosc2 chunk of at least {_CHUNK_HEADER} bytes", f"{packed}")
        try:
            said, whole, _ = blosc2.get_cbuffer_sizes(chunk)
        except (ValueError, RuntimeError) as error:
            raise self.wrong("a blosc2 chunk", "bytes without its header") from error
        if said != unpacked or whole != packed or unpacked > room or unpacked % itemsize or unpacked == 0:
            raise self.wrong(
                f"a blosc2 chunk of {unpacked:,} bytes, of {room:,} that are left of the array",
                f"one of {said:,} bytes unpacked and {whole:,} packed, in {packed:,} bytes",
            )
        return chunk, unpacked

    def check_end(self) -> None:
        """Raise UserError where bytes follow the last chunk."""
        if self.at != len(self.data):
            raise self.wrong("the end of the array", f"{len(self.data) - self.at:,} bytes more")


def _sides(shape: tuple[int, ...]) -> str:
    return "×".join(str(side) for side in shape)
