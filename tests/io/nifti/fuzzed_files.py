"""NIfTI files with anything wrong in their headers, drawn by hypothesis, and what becomes of reading them.

Run as a program it draws many, reads each within a limit of memory, and prints one JSON line of figures:
python -m tests.io.nifti.fuzzed_files COUNT FOLDER
"""

import gzip
import json
import resource
import sys
import time
import warnings
from collections import Counter
from functools import cache
from pathlib import Path

import nibabel as nib
import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from segfocal import memory
from segfocal.errors import UserError
from segfocal.grid import Grid, Volume
from segfocal.io import nifti, volumes
from segfocal.io.nifti import read, read_grid, read_labels, read_stored

SHAPE = (7, 5, 4)
TYPES = ["u1", "i1", "i2", "u2", "i4", "f4", "f8", "c8", "i8", "u8"]
FLOATS = [0.0, -0.0, 1.0, -1.0, 352.5, 1e-38, 1e38, -1e38, 1e15, float("nan"), float("inf"), float("-inf")]
INTEGERS = [0, 1, -1, 2, 3, 4, 7, 8, 16, 64, 128, 348, 352, 511, 512, 768, 1024, 1536, 2048, 2304, 4096, 32767, -32768]
INTEGERS += [2**31 - 1, -(2**31), 2**40, 2**62]
READERS = (
    nifti.read_as_is,
    read,
    read_labels,
    read_grid,
    read_stored,
    volumes.read,
    volumes.read_labels,
    volumes.read_grid,
)
LIMIT_BYTES = 1 << 30
SLOWEST_S = 10.0


@cache
def sound(version, kind, order):
    """Return the bytes of a sound file."""
    rng = np.random.default_rng(0)
    array = rng.integers(0, 4, SHAPE).astype(kind)
    made = (nib.Nifti1Image if version == 1 else nib.Nifti2Image)(array, np.diag([1.0, 1.5, 2.0, 1.0]), dtype=kind)
    header = type(made.header)(endianness=order)
    header.set_data_shape(SHAPE)
    header.set_data_dtype(np.dtype(kind).newbyteorder(order))
    header.set_zooms((1.0, 1.5, 2.0))
    header.set_sform(made.affine, 1)
    header.set_qform(made.affine, 1)
    header["vox_offset"] = 352 if version == 1 else 544
    voxels = array.astype(np.dtype(kind).newbyteorder(order)).tobytes(order="F")
    return header.binaryblock + bytes(4) + voxels, header.template_dtype.newbyteorder(order)


@st.composite
def field_bytes(draw, dtype):
    """Return the bytes of a header field: any at all, or one of the values on which readers stumble."""
    base = dtype.subdtype[0] if dtype.subdtype else dtype
    special = None
    if base.kind == "f":
        special = FLOATS
    elif base.kind in "iu":
        limits = np.iinfo(base)
        special = [value for value in INTEGERS if limits.min <= value <= limits.max]
    if special is None or draw(st.booleans()):
        return draw(st.binary(min_size=dtype.itemsize, max_size=dtype.itemsize))
    count = dtype.itemsize // base.itemsize
    values = draw(st.lists(st.sampled_from(special), min_size=count, max_size=count))
    with np.errstate(over="ignore"):
        return np.array(values, dtype=base).tobytes()


@st.composite
def headers(draw):
    """Return the bytes of a file whose header has one to four fields spoilt, or a few bytes anywhere in it."""
    version, kind, order = draw(st.sampled_from([1, 1, 2])), draw(st.sampled_from(TYPES)), draw(st.sampled_from("<>"))
    content, layout = sound(version, kind, order)
    content = bytearray(content)
    often = ["dim", "datatype", "pixdim", "vox_offset", "scl_slope", "scl_inter", "magic", "srow_x", "quatern_b"]
    names = draw(st.lists(st.sampled_from([*layout.names, *often * 4]), min_size=0, max_size=4))
    for name in names:
        dtype, start = layout.fields[name][:2]
        content[start : start + dtype.itemsize] = draw(field_bytes(dtype))
    for place in draw(st.lists(st.integers(0, layout.itemsize + 3), max_size=3 if names else 12)):
        content[place] = draw(st.integers(0, 255))
    if draw(st.booleans()) and draw(st.booleans()):  # an extension of any length
        start = layout.itemsize
        content[start : start + 4] = bytes([1, 0, 0, 0])
        content[start + 4 : start + 12] = np.array(draw(st.sampled_from(INTEGERS[:-2])), dtype="<i8").tobytes()
    return bytes(content)


@cache
def zeros():
    """Return 16 MiB of zeros as a member of a gzip file."""
    return gzip.compress(bytes(16 << 20), 9)


def bomb(promised):
    """Return a gzip file of a few hundred kB that unpacks to 2 GiB, all of it promised by the header or none."""
    content, layout = sound(1, "i2", "<")
    content = bytearray(content)
    if promised:
        start = layout.fields["dim"][1]
        content[start : start + 8] = np.array([3, 1024, 1024, 1023], dtype="<i2").tobytes()
    return gzip.compress(bytes(content)) + 128 * zeros()


@st.composite
def files(draw):
    """Return the name and bytes of a file: as it is, cut, with bytes too many, packed, packed and spoilt, a bomb."""
    if draw(st.integers(0, 99)) == 0:
        return "x.nii.gz", bomb(draw(st.booleans()))
    content = draw(headers())
    cut = draw(st.integers(0, 8))
    if cut == 0:
        content = content[: draw(st.integers(0, len(content)))]
    elif cut == 1:
        content += draw(st.binary(max_size=64))
    kind = draw(st.sampled_from(["plain", "plain", "packed", "packed", "packed", "spoilt", "tail", "swapped"]))
    if kind == "plain":
        return "x.nii", content
    packed = gzip.compress(content, 1)
    if kind == "spoilt":
        place = draw(st.integers(0, len(packed) - 1))
        packed = packed[:place] + bytes([draw(st.integers(0, 255))]) + packed[place + 1 :]
    elif kind == "tail":
        packed += draw(st.binary(max_size=64))
    elif kind == "swapped":
        return draw(st.sampled_from([("x.nii", packed), ("x.nii.gz", content)]))
    return "x.nii.gz", packed


def outcome(path, reader):
    """Return "read" or "refused"; anything but a Volume, a Grid or a UserError is an error."""
    try:
        result = reader(path)
    except UserError as error:
        if str(path) not in str(error):
            raise ValueError("the file is not named") from error
        return "refused"
    assert isinstance(result, Grid | Volume)
    if isinstance(result, Volume):
        assert result.array.shape == result.grid.shape
        assert result.array.dtype.kind in "iuf"
        if reader not in (read_labels, nifti.read_as_is) and result.array.dtype.kind == "f":
            assert np.isfinite(result.array).all()
    assert len(result.frame if isinstance(result, Grid) else result.grid.frame) == 3
    return "read"


def fuzz(count, folder, *, limit_bytes=LIMIT_BYTES):
    """Read `count` files with every reader and return figures; the memory of this process is limited meanwhile."""
    outcomes, slowest = Counter(), 0.0
    address_space = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    memory.forget_peak()
    before = memory.peak_gib()
    resource.setrlimit(resource.RLIMIT_AS, (address_space + limit_bytes, resource.RLIM_INFINITY))

    @settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(files())
    def every_reader(file):
        nonlocal slowest
        name, content = file
        path = folder / name
        path.write_bytes(content)
        for reader in READERS:
            start = time.process_time()
            outcomes[outcome(path, reader)] += 1
            slowest = max(slowest, time.process_time() - start)
            assert slowest < SLOWEST_S
        outcomes["files"] += 1

    start = time.process_time()
    every_reader()
    seconds = time.process_time() - start
    peak = memory.peak_gib() - before
    return {**outcomes, "seconds": round(seconds, 1), "slowest_s": round(slowest, 2), "peak_gib": round(peak, 3)}


if __name__ == "__main__":
    warnings.simplefilter("error", RuntimeWarning)
    nib.imageglobals.logger.setLevel("CRITICAL")
    print(json.dumps(fuzz(int(sys.argv[1]), Path(sys.argv[2]))))
