"""The fingerprint of several cases: shares of their sum, the spread of their geometry."""

import numpy as np
import pytest

from segfocal.data.case import Case
from segfocal.fingerprint.measure import MeasureOptions, measure_cases
from segfocal.fingerprint.summary import summarise
from segfocal.intensity import Window
from segfocal.structure import Structure
from tests.scans import AFFINES, make_sphere_case, sphere

CT = Window(lower=-160.0, upper=240.0)


@pytest.fixture
def several(tmp_path):
    """Two cases, how to measure them, and their voxels inside the structure and in all."""
    cases, inside, total = [], 0, 0
    for n, shape in enumerate([(20, 15, 9), (31, 22, 13)]):
        image, label = make_sphere_case(tmp_path, f"c{n}", shape=shape, radius_mm=4.0)
        cases.append(Case(name=f"c{n}", image=image, label=label))
        inside, total = inside + sphere(shape, AFFINES["RAS"], radius_mm=4.0).sum(), total + np.prod(shape)
    seen = MeasureOptions(structures=(Structure(name="s", value=1),), frame="SPL", intensity=CT, far_mm=5.0)
    return cases, seen, inside, total


def test_shares_of_several_cases_are_of_their_sum(several):
    cases, seen, inside, total = several
    found = summarise(measure_cases(cases, seen, workers=1))
    assert found["structures"]["s"]["voxel_share"] == inside / total
    assert found["shape"] == {"min": [9, 15, 20], "median": [11, 18.5, 25.5], "max": [13, 22, 31]}
    assert found["spacing_mm"]["median"] == [2.0, 1.5, 1.0]
    assert found["orientations"] == {"RAS": 2}


@pytest.mark.slow
def test_several_processes_measure_what_one_does(several):
    cases, seen, *_ = several
    one, two = (summarise(measure_cases(cases, seen, workers=workers)) for workers in (1, 2))
    assert one == two
