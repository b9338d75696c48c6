"""Fingerprints: every number against a count of its own."""

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from segfocal.cli.app import demo_data
from segfocal.data.case import Case
from segfocal.data.cases import read_cases
from segfocal.fingerprint.measure import MeasureOptions, measure, measure_cases
from segfocal.fingerprint.summary import summarise
from segfocal.intensity import Window
from segfocal.structure import Structure
from tests.scans import AFFINES, make_scan, make_sphere_case

DEMO = read_cases(f"{demo_data()}/cases.csv", label_names=f"{demo_data()}/label_names.json#ct")
CT = Window(lower=-160.0, upper=240.0)
CHOSEN = ("aorta", "liver", "spleen", "adrenal_gland_left", "rib_left_7")


def by(*names, far_mm=20.0):
    structures = tuple(Structure(name=name, value=DEMO.label_values[name]) for name in names)
    return MeasureOptions(structures=structures, frame="SPL", intensity=CT, far_mm=far_mm)


@pytest.mark.parametrize("name", ["ct_a", pytest.param("ct_b", marks=pytest.mark.slow)])
def test_imbalance_equals_an_independent_count(name):
    case = next(case for case in DEMO.cases if case.name == name)
    found = summarise([measure(case, by(*CHOSEN))])
    label = nib.load(case.label)
    array, up = np.asarray(label.dataobj), nib.aff2axcodes(label.affine).index("S")
    mm3 = abs(np.linalg.det(label.affine[:3, :3]))
    outside = ~np.isin(array, [DEMO.label_values[chosen] for chosen in CHOSEN])
    assert found["background"]["share"] == outside.sum() / array.size
    image = np.asarray(nib.load(case.image).dataobj)
    assert found["background"]["blank_share"] == (image[outside] <= -160).sum() / outside.sum()
    for chosen in CHOSEN:
        mask, row = array == DEMO.label_values[chosen], found["structures"][chosen]
        held = [mask.take(i, axis=up).any() for i in range(mask.shape[up])]
        assert row["voxels"] == mask.sum()
        assert row["voxel_share"] == mask.sum() / mask.size
        assert row["slice_share"] == sum(held) / len(held)
        numbers, count = ndimage.label(mask, structure=np.ones((3, 3, 3)))
        sizes = np.bincount(numbers.ravel())[1:] * mm3
        assert row["components"] == count
        if count:
            expected = {"smallest": sizes.min(), "median": np.median(sizes), "largest": sizes.max()}
            assert row["component_mm3"] == pytest.approx(expected)
            assert row["intensities"]["50"] == pytest.approx(np.median(image[mask]), abs=3)  # of a sample of voxels


@pytest.mark.parametrize("affine", AFFINES.values(), ids=AFFINES)
def test_easy_background_is_what_is_blank_or_far_by_brute_force(tmp_path, affine):
    image, label = make_sphere_case(tmp_path, shape=(23, 19, 9), affine=affine, radius_mm=4.0)
    seen = MeasureOptions(
        structures=(Structure(name="ball", value=1),), frame="SPL", intensity=Window(lower=-10, upper=50), far_mm=5.0
    )
    found = measure(Case(name="c", image=image, label=label), seen)
    inside = np.asarray(nib.load(label).dataobj) == 1
    points = np.argwhere(inside | True).reshape(*inside.shape, 3) * np.linalg.norm(affine[:3, :3], axis=0)
    nearest = np.min([np.linalg.norm(points - points[tuple(at)], axis=-1) for at in np.argwhere(inside)], axis=0)
    blank, far = np.asarray(nib.load(image).dataobj) <= -10, nearest > 5.0
    assert (found.blank, found.far) == ((blank & ~inside).sum(), (far & ~inside).sum())
    assert found.easy == ((blank | far) & ~inside).sum()
    assert found.background == (~inside).sum()


def test_components_are_counted_through_corners_and_measured_in_mm3(tmp_path):
    mask = np.zeros((9, 8, 7), dtype=np.uint8)
    mask[0, 0, 0] = mask[1, 1, 1] = mask[5:7, 5, 3] = mask[8, 0, 6] = 1
    affine = AFFINES["LPS"]
    image, label = make_scan(tmp_path / "i.nii.gz", mask * 10, affine), make_scan(tmp_path / "l.nii.gz", mask, affine)
    seen = MeasureOptions(structures=(Structure(name="s", value=1),), frame="SPL", intensity=CT, far_mm=1.0)
    found = summarise([measure(Case(name="c", image=image, label=label), seen)])["structures"]["s"]
    voxel = 0.7 * 0.7 * 3.0
    assert found["components"] == 3
    assert found["component_mm3"] == pytest.approx({"smallest": voxel, "median": 2 * voxel, "largest": 2 * voxel})
    assert found["slices"] == 4
    assert found["extent_mm"] == pytest.approx([7 * 3.0, 6 * 0.7, 9 * 0.7])


def test_a_case_without_a_target_is_all_background_and_far(tmp_path):
    image, label = make_sphere_case(tmp_path, radius_mm=0)
    seen = MeasureOptions(structures=(Structure(name="s", value=1),), frame="SPL", intensity=CT, far_mm=1.0)
    found = measure(Case(name="c", image=image, label=label), seen)
    assert found.far == found.easy == found.background == 23 * 19 * 7
    row = summarise([found])["structures"]["s"]
    assert (row["voxels"], row["components"], row["component_mm3"]["median"], row["intensities"]) == (0, 0, None, {})


def test_a_file_that_cannot_be_read_is_said_with_its_case(tmp_path):
    image, label = make_sphere_case(tmp_path)
    image.write_bytes(b"no scan")
    seen = MeasureOptions(structures=(Structure(name="s", value=1),), frame="SPL", intensity=CT, far_mm=5.0)
    (found,) = measure_cases([Case(name="c", image=image, label=label)], seen, workers=1)
    assert "expected" in found.problem
