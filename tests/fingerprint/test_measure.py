"""Fingerprints: every figure against a count of its own, and suggestions that say what they rest on."""

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from segfocal.cli.app import demo_data
from segfocal.data.case import Case
from segfocal.data.cases import read_cases
from segfocal.fingerprint.measure import Measure, measure, measure_cases, summarise
from segfocal.fingerprint.suggestions import suggest
from segfocal.intensity import Window
from segfocal.structure import Structure
from tests.scans import AFFINES, make_scan, make_sphere_case, sphere

DEMO = read_cases(f"{demo_data()}/cases.csv", label_names=f"{demo_data()}/label_names.json#ct")
CT = Window(lower=-160.0, upper=240.0)
CHOSEN = ("aorta", "liver", "spleen", "adrenal_gland_left", "rib_left_7")


def by(*names, far_mm=20.0):
    structures = tuple(Structure(name=name, value=DEMO.label_values[name]) for name in names)
    return Measure(structures=structures, frame="SPL", intensity=CT, far_mm=far_mm)


@pytest.mark.parametrize("name", ["ct_a", "ct_b"])
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
    seen = Measure(
        structures=(Structure(name="ball", value=1),), frame="SPL", intensity=Window(lower=-10, upper=50), far_mm=5.0
    )
    found = measure(Case(name="c", image=image, label=label), seen)
    inside = np.asarray(nib.load(label).dataobj) == 1
    places = np.argwhere(inside | True).reshape(*inside.shape, 3) * np.linalg.norm(affine[:3, :3], axis=0)
    nearest = np.min([np.linalg.norm(places - places[tuple(at)], axis=-1) for at in np.argwhere(inside)], axis=0)
    blank, far = np.asarray(nib.load(image).dataobj) <= -10, nearest > 5.0
    assert (found.blank, found.far) == ((blank & ~inside).sum(), (far & ~inside).sum())
    assert found.easy == ((blank | far) & ~inside).sum()
    assert found.background == (~inside).sum()


def test_components_are_counted_through_corners_and_measured_in_mm3(tmp_path):
    mask = np.zeros((9, 8, 7), dtype=np.uint8)
    mask[0, 0, 0] = mask[1, 1, 1] = mask[5:7, 5, 3] = mask[8, 0, 6] = 1
    affine = AFFINES["LPS"]
    image, label = make_scan(tmp_path / "i.nii.gz", mask * 10, affine), make_scan(tmp_path / "l.nii.gz", mask, affine)
    seen = Measure(structures=(Structure(name="s", value=1),), frame="SPL", intensity=CT, far_mm=1.0)
    found = summarise([measure(Case(name="c", image=image, label=label), seen)])["structures"]["s"]
    voxel = 0.7 * 0.7 * 3.0
    assert found["components"] == 3
    assert found["component_mm3"] == pytest.approx({"smallest": voxel, "median": 2 * voxel, "largest": 2 * voxel})
    assert found["slices"] == 4
    assert found["extent_mm"] == pytest.approx([7 * 3.0, 6 * 0.7, 9 * 0.7])


def test_a_case_without_a_target_is_all_background_and_far(tmp_path):
    image, label = make_sphere_case(tmp_path, radius_mm=0)
    seen = Measure(structures=(Structure(name="s", value=1),), frame="SPL", intensity=CT, far_mm=1.0)
    found = measure(Case(name="c", image=image, label=label), seen)
    assert found.far == found.easy == found.background == 23 * 19 * 7
    row = summarise([found])["structures"]["s"]
    assert (row["voxels"], row["components"], row["component_mm3"]["median"], row["intensities"]) == (0, 0, None, {})


def test_shares_of_several_cases_are_of_their_sum_whoever_reads_them(tmp_path):
    cases, inside, total = [], 0, 0
    for n, shape in enumerate([(20, 15, 9), (31, 22, 13)]):
        image, label = make_sphere_case(tmp_path, f"c{n}", shape=shape, radius_mm=4.0)
        cases.append(Case(name=f"c{n}", image=image, label=label))
        inside, total = inside + sphere(shape, AFFINES["RAS"], radius_mm=4.0).sum(), total + np.prod(shape)
    seen = Measure(structures=(Structure(name="s", value=1),), frame="SPL", intensity=CT, far_mm=5.0)
    found = summarise(measure_cases(cases, seen, workers=1))
    assert found["structures"]["s"]["voxel_share"] == inside / total
    assert found["shape"] == {"min": [9, 15, 20], "median": [11, 18.5, 25.5], "max": [13, 22, 31]}
    assert found["spacing_mm"]["median"] == [2.0, 1.5, 1.0]
    assert found["orientations"] == {"RAS": 2}
    assert summarise(measure_cases(cases, seen, workers=2)) == found


def test_a_file_that_cannot_be_read_is_said_with_its_case(tmp_path):
    image, label = make_sphere_case(tmp_path)
    image.write_bytes(b"no scan")
    seen = Measure(structures=(Structure(name="s", value=1),), frame="SPL", intensity=CT, far_mm=5.0)
    (found,) = measure_cases([Case(name="c", image=image, label=label)], seen, workers=1)
    assert "expected" in found.problem


# Suggestions


def figures(
    share, *, slices=0.5, extent=(60.0, 60.0, 60.0), spacing=(2.0, 1.0, 1.0), shape=(100, 200, 200), lowest=-1000.0
):
    row = {"voxels": 10, "voxel_share": share, "slice_share": slices, "extent_mm": list(extent)}
    row["intensities"] = {"5": 10.0, "50": 50.0, "95": 90.0}
    return {
        "cases": 3,
        "shape": {end: list(shape) for end in ("min", "median", "max")},
        "spacing_mm": {end: list(spacing) for end in ("min", "median", "max")},
        "background": {"easy_share": 0.9, "intensities": {"0.5": lowest}},
        "structures": {"s": row},
    }


def suggested(found, **data):
    return {one.option: one for one in suggest(found, {"spacing_mm": [1.5, 1.5], **data})}


@pytest.mark.parametrize(
    ("share", "alphas", "foreground", "prior"),
    [
        (0.001, [0.25, 0.4, 0.6, 0.75], 0.5, "auto"),
        (0.05, [0.25, 0.4, 0.5], 0.0, "auto"),
        (0.3, [0.25, 0.5], 0.0, None),
    ],
)
def test_the_smaller_the_target_the_more_is_done_for_it(share, alphas, foreground, prior):
    found = suggested(figures(share))
    assert found["loss.terms.focal.alpha"].value == alphas
    assert found["data.foreground"].value == foreground
    assert found["model.prior"].value == prior


@pytest.mark.parametrize("held", [0.05, 0.2, 0.37, 0.5, 1.0])
def test_at_least_half_of_the_samples_show_a_target_of_few_slices(held):
    share = suggested(figures(0.05, slices=held))["data.foreground"].value
    assert share + (1 - share) * held >= 0.5
    assert share == 0 or (share - 0.1) + (1.1 - share) * held < 0.5  # no more than it takes, in tenths


@pytest.mark.parametrize(
    ("shape", "extent", "window"),
    [
        ((9, 100, 130), (10, 50, 50), [128, 160]),
        ((9, 512, 512), (10, 50, 50), [256, 256]),
        ((9, 512, 300), (10, 270, 290), [288, 320]),
        ((9, 900, 900), (10, 700, 20), [512, 256]),
    ],
)
def test_a_window_holds_the_slice_or_the_target_within_bounds(shape, extent, window):
    assert suggested(figures(0.05, shape=shape, extent=extent))["data.window"].value == window


def test_pictures_keep_their_geometry_and_intensity():
    assert not {"data.spacing_mm", "data.window", "intensity"} & set(suggested(figures(0.05), spacing_mm=None))


def test_numbers_without_a_unit_ask_for_percentiles():
    assert suggested(figures(0.05))["intensity"].value == "ct_soft_tissue"
    assert suggested(figures(0.05, lowest=0.0))["intensity"].value == "percentiles"


def test_structures_of_very_different_size_are_drawn_by_rarity():
    found = figures(0.05)
    assert "data.rare" not in suggested(found)
    found["structures"]["tiny"] = found["structures"]["s"] | {"voxel_share": 0.0001}
    assert suggested(found)["data.rare"].value == 0.5
    assert "tiny fills 0.01 %" in suggested(found)["loss.terms.focal.alpha"].why


def test_every_reason_is_one_sentence_with_a_number():
    for one in suggest(figures(0.001), {"spacing_mm": [1, 1]}):
        assert one.why.endswith(".")
        assert any(letter.isdigit() for letter in one.why), one.option


def test_nothing_is_suggested_without_a_target():
    found = figures(0.05)
    found["structures"]["s"]["voxels"] = 0
    with pytest.raises(ValueError, match="expected a voxel of some target"):
        suggested(found)
