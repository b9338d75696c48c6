"""Packed arrays: ours and the client's read each other; bytes that lie are refused in one line, whatever they say."""

import struct

import numpy as np
import pytest

from segfocal.errors import Fault, UserError
from segfocal.serve.nninteractive.packed_array import TYPES, ArrayLimits, pack, unpack

client = pytest.importorskip("nnInteractive.inference.remote.serialization")
LIMITS = ArrayLimits(ndim=3, most_bytes=1 << 16)


def drawn(dtype="int16", shape=(7, 3, 11), seed=0):
    return np.random.default_rng(seed).integers(0, 2 if dtype == "bool" else 100, shape).astype(dtype)


@pytest.mark.parametrize("dtype", TYPES)
def test_what_the_client_packs_is_unpacked_and_the_other_way_round(dtype):
    array = drawn(dtype)
    for packed in (client.pack_array(array), pack(array)):
        for found in (unpack(packed, LIMITS, what="it"), client.unpack_array(packed)):
            assert found.dtype == array.dtype
            assert np.array_equal(found, array)


def test_views_and_zeros_are_packed():
    for array in (drawn()[::-1, :, ::2], np.zeros((707, 1, 91), dtype=np.uint8), drawn().astype(">i2")):
        assert np.array_equal(client.unpack_array(pack(array)), array)


@pytest.mark.parametrize("end", [0, 3, 8, 12, 30, 37, 40, 52, 60, -1])
def test_bytes_cut_short_are_damaged(end):
    with pytest.raises(UserError, match=r"^expected .*; found .* in the image\. Send .*\.$") as told:
        unpack(pack(drawn())[:end], LIMITS, what="the image")
    assert told.value.fault is Fault.DAMAGED


def changed(at, kind, value):
    packed = bytearray(pack(drawn()))
    struct.pack_into(kind, packed, at, value)
    return bytes(packed)


SHAPE, COUNT = 8 + len("int16"), 8 + len("int16") + 24
LIES = {
    "magic": (changed(0, "<4s", b"PK\x03\x04"), "begins with NNIA"),
    "version": (changed(4, "<B", 2), "version 2"),
    "codec": (changed(5, "<B", 7), "codec 7"),
    "axes": (changed(6, "<B", 4), "3 axes"),
    "type": (changed(8, "<5s", b"obj16"), "'obj16'"),
    "no side": (changed(SHAPE, "<q", 0), "at least 1"),
    "a negative side": (changed(SHAPE, "<q", -7), "at least 1"),
    "a huge side": (changed(SHAPE, "<q", 1 << 62), "at most 65,536 bytes"),
    "another side": (changed(SHAPE, "<q", 8), "bytes for an array"),
    "many chunks": (changed(COUNT, "<I", (1 << 32) - 1), "cut short"),
    "more unpacked": (changed(COUNT + 4, "<Q", 1 << 40), "blosc2 chunk"),
    "less packed": (changed(COUNT + 12, "<Q", 16), "blosc2 chunk"),
    "more packed": (changed(COUNT + 12, "<Q", 1 << 63), "cut short"),
    "a chunk that says another size": (changed(COUNT + 24, "<I", 1 << 30), "blosc2 chunk"),
    "bytes behind": (pack(drawn()) + b"\0", "1 bytes more"),
}


@pytest.mark.parametrize("name", LIES)
def test_a_header_that_lies_is_refused(name):
    packed, said = LIES[name]
    with pytest.raises(UserError, match=said):
        unpack(packed, LIMITS, what="the image")


def test_types_are_those_of_the_limits():
    with pytest.raises(UserError, match=r"expected an array of uint8, bool; found 'int16'"):
        unpack(pack(drawn()), ArrayLimits(ndim=3, most_bytes=1 << 16, types=("uint8", "bool")), what="the mask")


def test_random_damage_is_an_array_or_one_line():
    rng = np.random.default_rng(0)
    told, good = [], client.pack_array(drawn(shape=(20, 30, 10)))
    for _ in range(500):
        packed = bytearray(good)
        for at in rng.integers(0, len(packed) if rng.random() < 0.5 else 100, 3):
            packed[at] = rng.integers(256)
        try:
            assert unpack(packed, LIMITS, what="the image").ndim == 3
        except UserError as error:
            told.append(str(error))
    assert len(told) > 100
    assert not [text for text in told if "\n" in text]
