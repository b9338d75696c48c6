"""What labels and headers of a few cases say about spacing and window, against hand arithmetic."""

import math

import numpy as np
import pytest

from segfocal.data.cases import read_cases
from segfocal.data.mask_files import with_target
from segfocal.data.structures import choose_structures
from segfocal.fingerprint.geometry import Geometry, measure_medians, window_of
from tests.scans import affine_of, make_scan


def make_box_case(root, name, *, shape, spacing, box):
    """Write a scan [x,y,z] whose label has one box of `box` voxels in a corner; none where box is None."""
    labels = np.zeros(shape, np.uint8)
    if box is not None:
        labels[tuple(slice(1, 1 + side) for side in box)] = 1
    affine = affine_of(spacing_mm=spacing)
    make_scan(root / "images" / f"{name}.nii.gz", np.zeros(shape, np.int16), affine)
    make_scan(root / "labels" / f"{name}.nii.gz", labels, affine)


def medians(root, frame="SPL"):
    listed = read_cases(root)
    cases, structures = with_target(listed, choose_structures(1, listed.label_values), by_object=False)
    return measure_medians(cases.cases, structures, frame)


THICK = {"shape": (96, 64, 8), "spacing": (1.0, 1.0, 5.0), "box": (10, 10, 2)}
FLAT = {"shape": (200, 40, 6), "spacing": (0.5, 2.0, 1.0), "box": (4, 2, 2)}
LESION = {"shape": (64, 80, 5), "spacing": (0.8, 0.8, 3.0), "box": (2, 2, 1)}
HUGE = {"shape": (600, 300, 24), "spacing": (1.0, 1.0, 2.0), "box": (60, 60, 20)}

# (6 · mm³ / π)^⅓ / 6, no finer than the pixels, at most 3 mm; extents over that, up to sixteens, at most 160
BY_HAND = [
    (THICK, 2.07, [32, 48]),  # 1000 mm³: 12.41 mm; 64 and 96 mm are 30.9 and 46.4 pixels
    (FLAT, 2.0, [48, 64]),  # 16 mm³: 3.13 mm, finer than the rows; 80 and 100 mm are 40 and 50 pixels
    (LESION, 0.8, [80, 64]),  # 7.68 mm³: 2.45 mm, finer than the pixels
    (HUGE, 3.0, [112, 160]),  # 144000 mm³: 65 mm; 300 and 600 mm are 100 and 200 pixels
]


@pytest.mark.parametrize(("case", "mm", "window"), BY_HAND)
def test_spacing_and_window_follow_from_labels_and_headers(case, mm, window, tmp_path):
    make_box_case(tmp_path, "a", **case)
    geometry = Geometry.from_medians(medians(tmp_path))
    mm3 = math.prod(case["box"]) * math.prod(case["spacing"])
    assert geometry.across_mm == pytest.approx((6 * mm3 / math.pi) ** (1 / 3))
    assert geometry.coarse_mm == mm
    assert geometry.window(mm, "coarse") == window


def test_ten_cases_evenly_by_name_are_measured_and_an_unreadable_one_is_passed_over(tmp_path):
    for number in range(19):  # 0, 2, …, 18 are measured: the odd ones are larger
        side = 4 if number % 2 else 2
        make_box_case(tmp_path, f"c{number:02}", shape=(8, 8, 6), spacing=(1.0, 1.0, 1.0), box=(side,) * 3)
    found = medians(tmp_path)
    assert (found.cases, found.components_mm3) == (10, {"label_1": 8.0})
    (tmp_path / "labels" / "c04.nii.gz").write_bytes(b"no scan")
    assert medians(tmp_path).cases == 9


def test_more_cases_are_read_only_while_none_holds_the_target(tmp_path):
    for number in range(19):
        box = (2, 2, 2) if number in (3, 17) else None
        make_box_case(tmp_path, f"c{number:02}", shape=(8, 8, 6), spacing=(1.0, 1.0, 1.0), box=box)
    found = medians(tmp_path)
    assert (found.cases, found.components_mm3) == (12, {"label_1": 8.0})  # the ten, c01 and c03


def test_no_voxel_of_the_target_anywhere_leaves_no_structure(tmp_path):
    make_box_case(tmp_path, "a", shape=(8, 9, 6), spacing=(1.0, 1.0, 1.0), box=None)
    found = medians(tmp_path)
    assert (found.components_mm3, found.shape) == ({}, (6.0, 9.0, 8.0))
    with pytest.raises(ValueError, match="voxel of some target"):
        Geometry.from_medians(found)


@pytest.mark.parametrize(
    ("pixels", "kind", "multiple", "sides"),
    [
        ((10, 300), "own", 16, [32, 256]),
        ((40, 300), "coarse", 64, [64, 128]),
        ((225, 224), "fine", 16, [224, 224]),
        ((48.0001, 48.01), "coarse", 16, [48, 64]),
    ],
)
def test_a_window_is_a_multiple_within_bounds(pixels, kind, multiple, sides):
    assert window_of(pixels, kind, multiple=multiple) == sides
