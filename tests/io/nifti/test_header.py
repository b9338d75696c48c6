"""A NIfTI header that was damaged at random is refused in one line, or does no harm."""

import numpy as np

from segfocal.errors import UserError
from segfocal.io import nifti
from tests.io.nifti.label_files import random_labels
from tests.scans import affine_of, make_scan


def test_a_damaged_header_is_refused_or_harmless(tmp_path):
    """Any byte of the header outside its sizes may be wrong: the reader answers with a volume or a UserError."""
    content = make_scan(tmp_path / "scan.nii", random_labels(), affine_of(degrees=(5.0, 9.0, 4.0))).read_bytes()
    rng = np.random.default_rng(0)
    told = 0
    for _ in range(300):
        damaged = bytearray(content)
        for place in rng.integers(56, 352, 3):  # after dim, whose damage may ask for more memory than there is
            damaged[place] = rng.integers(256)
        (tmp_path / "damaged.nii").write_bytes(damaged)
        try:
            volume = nifti.read(tmp_path / "damaged.nii")
        except UserError:
            told += 1
        else:
            assert np.isfinite(volume.array).all()
    assert 0 < told < 300
