"""Whatever a NIfTI header says, reading it ends soon, within a limit of memory, in a volume or in one clear error."""

import gzip
import json
import subprocess
import sys

import numpy as np
import pytest

from segfocal.errors import UserError
from segfocal.io import nifti
from tests.io.nifti.fuzzed_files import LIMIT_BYTES, SLOWEST_S, bomb, sound
from tests.scans import make_scan, spoil_header


def figures_of(count, folder):
    """Read files in a process of its own, whose memory is limited, and return the figures."""
    command = [sys.executable, "-m", "tests.io.nifti.fuzzed_files", str(count), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("count", [200, pytest.param(2500, marks=pytest.mark.slow)])
def test_spoilt_files_are_read_or_refused(tmp_path, count):
    figures = figures_of(count, tmp_path)
    assert figures["files"] >= count
    assert figures["read"] > 0
    assert figures["refused"] > 0
    assert figures["slowest_s"] < SLOWEST_S
    assert figures["peak_gib"] * 2**30 < LIMIT_BYTES


def test_a_small_file_that_unpacks_to_gigabytes_is_refused_at_once(tmp_path):
    path = tmp_path / "bomb.nii.gz"
    path.write_bytes(bomb(promised=False))
    assert path.stat().st_size < 3 << 20
    with pytest.raises(UserError, match=r"64 MiB follow the voxels.* in .*bomb\.nii\.gz"):
        nifti.read(path)


def test_nothing_is_reserved_for_voxels_that_a_file_cannot_hold(tmp_path):
    for ending in (".nii", ".nii.gz"):
        path = tmp_path / f"x{ending}"
        plain = spoil_header(make_scan(tmp_path / "y.nii", np.int16([[[1]]])), dim=(3, 32767, 32767, 32767, 1, 1, 1, 1))
        path.write_bytes(plain.read_bytes() if ending == ".nii" else gzip.compress(plain.read_bytes()))
        with pytest.raises(UserError, match=r"it promises .* bytes"):
            nifti.read(path)


def test_a_name_that_hides_or_feigns_packing_is_refused(tmp_path):
    content, _ = sound(1, "i2", "<")
    (tmp_path / "x.nii.gz").write_bytes(content)
    with pytest.raises(UserError, match="not packed as its name says"):
        nifti.read(tmp_path / "x.nii.gz")
    packed = make_scan(tmp_path / "y.nii.gz", np.int16([[[1, 2]]])).read_bytes()
    (tmp_path / "x.nii").write_bytes(packed)
    with pytest.raises(UserError, match=r"its name lacks \.gz"):
        nifti.read(tmp_path / "x.nii")


@pytest.mark.parametrize("value", [1e30, float("inf"), 2.0**60])
def test_numbers_beyond_any_label_are_no_label(tmp_path, value):
    path = make_scan(tmp_path / "label.nii.gz", [[[0.0, value]]])
    with pytest.raises(UserError, match="whole numbers; found values such as"):
        nifti.read_labels(path)
