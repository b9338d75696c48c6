"""A case whose label map holds several values, and its labels for a target."""

import numpy as np
import pytest

from segfocal.data.case import Case, CaseList
from segfocal.data.mask_files import with_target
from segfocal.data.structures import choose_structures
from tests.scans import make_scan

NAMES = {"liver": 5, "kidney_right": 2, "kidney_left": 3, "spleen": 1}
SHAPE = (9, 11, 5)


@pytest.fixture
def scan(tmp_path):
    """A case whose label map holds blocks of the values 1, 2, 3, 5 and 9, and the array."""
    array = np.zeros(SHAPE, np.uint8)
    array[:3, :4], array[:3, 5:8], array[4:6, :4], array[4:6, 5:8], array[7:, :] = 1, 2, 3, 5, 9
    image = make_scan(tmp_path / "image.nii", np.random.default_rng(0).normal(size=SHAPE).astype(np.float32))
    return Case(name="a", image=image, label=make_scan(tmp_path / "label.nii", array), split="train"), array


def labelled_for(case, target, *, ignored=None, **options):
    """Return the case with labels that mean the target, and the structures of that."""
    cases = CaseList(cases=(case,), label_values=NAMES, ignored=ignored)
    cases, structures = with_target(cases, choose_structures(target, NAMES, **options), by_object=False)
    return cases.cases[0], structures
