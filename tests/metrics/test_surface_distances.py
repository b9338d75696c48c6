"""Surface distances: MONAI's where both are defined, exact in every box, and stated where a mask is empty."""

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance, compute_surface_dice
from scipy import ndimage
from scipy.spatial.distance import cdist

from segfocal.cli.app import demo_data
from segfocal.metrics import SurfaceDistances, hausdorff95

# MONAI's distances and quantiles are of float32, as are the squares our transform returns: 6e-8 each.
CLOSE = {"rel": 2e-6, "abs": 1e-5}
ORGANS = {"liver": 5, "spleen": 1, "aorta": 52, "pancreas": 7, "gallbladder": 4}


def blobs(seed):
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.integers(5, 22, 3))
    fields = ndimage.gaussian_filter(rng.normal(size=(2, *shape)), (0, *rng.uniform(0.4, 2.5, 3)))
    share = rng.uniform(0.5, 0.97)
    spacing = tuple(float(mm) for mm in rng.uniform(0.4, 5.0, 3).round(2))
    return [field > np.quantile(field, share) for field in fields], spacing


@pytest.fixture(scope="module")
def organs():
    scan = nib.load(f"{demo_data()}/ct_a_label.nii.gz")
    return np.asarray(scan.dataobj), (3.0, 3.0, 3.0)


def compared(prediction, reference, spacing_mm, tolerance_mm):
    pair = [torch.from_numpy(np.ascontiguousarray(mask))[None, None] for mask in (prediction, reference)]
    options = {"include_background": True, "spacing": list(spacing_mm)}
    theirs = (
        compute_hausdorff_distance(*pair, **options).item(),
        compute_hausdorff_distance(*pair, percentile=95, **options).item(),
        compute_average_surface_distance(*pair, symmetric=True, **options).item(),
        compute_surface_dice(*pair, class_thresholds=[tolerance_mm], **options).item(),
    )
    ours = SurfaceDistances.between(prediction, reference, spacing_mm)
    assert (ours.hd, ours.hd95, ours.assd) == pytest.approx(theirs[:3], **CLOSE)
    assert ours.nsd(tolerance_mm) == pytest.approx(theirs[3], abs=1e-6)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("seed", range(40))
def test_distances_of_random_masks_are_monai_s(seed):
    (one, other), spacing_mm = blobs(seed)
    compared(one, other, spacing_mm, tolerance_mm=1.2345)  # no sum of squares of spacings with two decimals


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("name", ORGANS)
@pytest.mark.parametrize("spacing_mm", [(3.0, 3.0, 3.0), (0.7, 0.9, 4.0)])
def test_distances_of_real_masks_are_monai_s(organs, name, spacing_mm):
    labels, _ = organs
    reference = labels == ORGANS[name]
    prediction = np.roll(reference, (2, -1, 1), (0, 1, 2)) | ndimage.binary_dilation(reference & (labels[::-1] > 0))
    compared(prediction, reference, spacing_mm, tolerance_mm=2.2345)


@pytest.mark.parametrize("share", [0.0005, 0.3])  # few points far apart are searched in a tree, many by a transform
@pytest.mark.parametrize("seed", range(4))
def test_both_ways_of_searching_are_exact(seed, share):
    rng = np.random.default_rng(seed)
    spacing_mm = tuple(float(mm) for mm in rng.uniform(0.4, 5.0, 3).round(2))
    one, other = rng.random((2, *((21, 25, 23) if share < 0.1 else (9, 9, 9)))) < share
    surfaces = [np.argwhere(mask & ~ndimage.binary_erosion(mask)) * spacing_mm for mask in (one, other)]
    every = cdist(*surfaces)
    found = SurfaceDistances.between(one, other, spacing_mm)
    assert found.from_prediction == pytest.approx(every.min(1), rel=1e-6)
    assert found.from_reference == pytest.approx(every.min(0), rel=1e-6)


@pytest.mark.parametrize("shape", [(40,), (17, 23), (9, 7, 11), (6, 5, 4, 7)])
def test_any_number_of_axes(shape):
    rng = np.random.default_rng(0)
    one, other = rng.random(shape) < 0.3, rng.random(shape) < 0.3
    spacing_mm = tuple(np.linspace(0.5, 2.0, len(shape)))
    surfaces = [np.argwhere(mask & ~ndimage.binary_erosion(mask)) * spacing_mm for mask in (one, other)]
    every = cdist(*surfaces)
    expected = max(every.min(1).max(), every.min(0).max())
    assert SurfaceDistances.between(one, other, spacing_mm).hd == pytest.approx(expected)


def test_a_cut_that_holds_both_masks_changes_nothing():
    (one, other), spacing_mm = blobs(3)
    wide = [np.pad(mask, ((3, 2), (0, 4), (5, 1))) for mask in (one, other)]
    cut = SurfaceDistances.between(*[np.pad(m, 1) for m in (one, other)], spacing_mm, volume_shape=wide[0].shape)
    whole = SurfaceDistances.between(*wide, spacing_mm)
    distances = [(d.hd, d.hd95, d.assd, d.nsd(1.0), d.diagonal_mm) for d in (cut, whole)]
    assert distances[0] == pytest.approx(distances[1])


def test_a_distance_equal_to_the_tolerance_is_within_it():
    one, other = np.zeros((20, 20, 8), bool), np.zeros((20, 20, 8), bool)
    one[4:9, 4:9, 4:5], other[5:10, 4:9, 4:5] = True, True
    for mm in (0.1, 0.7, 1.0, 1.1, 3.3):
        found = SurfaceDistances.between(one, other, (mm, 1.0, 3.0))
        assert found.nsd(mm) == 1
        assert found.nsd(0.99 * mm) == pytest.approx(40 / 50)


def test_equal_masks_are_at_no_distance():
    (one, _), spacing_mm = blobs(1)
    found = SurfaceDistances.between(one, one, spacing_mm)
    assert (found.hd, found.hd95, found.assd, found.nsd(0)) == (0, 0, 0, 1)


def test_distances_are_symmetric():
    (one, other), spacing_mm = blobs(2)
    pair = [SurfaceDistances.between(*masks, spacing_mm) for masks in ((one, other), (other, one))]
    assert len({(d.hd, d.hd95, round(d.assd, 9), d.nsd(1)) for d in pair}) == 1


def test_empty_masks_are_at_no_distance_and_one_of_them_at_the_diagonal():
    empty, full = np.zeros((3, 4, 12), bool), np.ones((3, 4, 12), bool)
    both = SurfaceDistances.between(empty, empty, (1, 1, 1))
    assert (both.hd, both.hd95, both.assd, both.nsd(1)) == (0, 0, 0, 1)
    for pair in ((full, empty), (empty, full)):
        one = SurfaceDistances.between(*pair, (1, 1, 1))
        assert (one.hd, one.hd95, one.assd, one.nsd(100)) == (13, 13, 13, 0)
        assert hausdorff95(*pair, (1, 1, 1)) == 13


# HD95


def smooth_blobs(seed, shape=(13, 17, 6)):
    rng = np.random.default_rng(seed)
    fields = ndimage.gaussian_filter(rng.normal(size=(2, *shape)), (0, 2, 2, 1))
    return [field > np.quantile(field, 0.85) for field in fields]


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (0.7, 1.3, 5.0)])
def test_hd95_is_monai_s(seed, spacing_mm):
    one, other = smooth_blobs(seed)
    theirs = compute_hausdorff_distance(
        *[torch.from_numpy(mask.astype(np.float32))[None, None] for mask in (one, other)],
        include_background=True,
        percentile=95,
        spacing=list(spacing_mm),
    )
    assert hausdorff95(one, other, spacing_mm) == pytest.approx(theirs.item(), rel=1e-5)  # theirs is float32


def test_hd95_of_shifted_blocks_is_the_shift_in_millimetres():
    one, other = np.zeros((20, 20, 8), bool), np.zeros((20, 20, 8), bool)
    one[4:9, 4:9, 2:5], other[6:11, 4:9, 2:5] = True, True
    assert hausdorff95(one, other, (1.5, 1.0, 3.0)) == pytest.approx(3.0)
    assert hausdorff95(one, one, (1.5, 1.0, 3.0)) == 0


def test_hd95_of_empty_masks_is_zero_for_two_and_the_diagonal_for_one():
    empty, full = np.zeros((3, 4, 12), bool), np.ones((3, 4, 12), bool)
    assert hausdorff95(empty, empty, (1, 1, 1)) == 0
    assert hausdorff95(full, empty, (1, 1, 1)) == hausdorff95(empty, full, (1, 1, 1)) == pytest.approx(13)


def test_what_cannot_be_measured_is_refused():
    mask = np.ones((3, 3, 3), bool)
    with pytest.raises(ValueError, match="one shape"):
        SurfaceDistances.between(mask, mask[:2], (1, 1, 1))
    with pytest.raises(ValueError, match="spacing for each axis"):
        SurfaceDistances.between(mask, mask, (1, 1))
    with pytest.raises(ValueError, match="tolerance"):
        SurfaceDistances.between(mask, mask, (1, 1, 1)).nsd(-1)


# Sheared grids


def sheared_steps(seed):
    rng = np.random.default_rng(seed)
    return np.diag(rng.uniform(0.5, 4.0, 3)) + np.triu(rng.uniform(-1.5, 1.5, (3, 3)), 1)


@pytest.mark.parametrize("seed", range(4))
def test_distances_on_a_sheared_grid_are_those_of_the_world(seed):
    """Every distance between surface voxels in the world, one by one."""
    (one, other), _ = blobs(seed)
    steps = sheared_steps(seed)
    surfaces = [np.argwhere(mask & ~ndimage.binary_erosion(mask)) @ steps.T for mask in (one, other)]
    every = cdist(*surfaces)
    there, back = every.min(1), every.min(0)
    found = SurfaceDistances.between(one, other, steps)
    assert found.hd == pytest.approx(max(there.max(), back.max()))
    assert found.hd95 == pytest.approx(max(np.percentile(d, 95) for d in (there, back)))
    assert found.assd == pytest.approx(np.r_[there, back].mean())
    assert found.nsd(1.5) == pytest.approx(np.mean(np.r_[there, back] <= 1.5))


@pytest.mark.parametrize("seed", range(4))
def test_steps_at_right_angles_are_spacings(seed):
    (one, other), spacing_mm = blobs(seed)
    pair = [SurfaceDistances.between(one, other, steps) for steps in (spacing_mm, np.diag(spacing_mm))]
    assert [(d.hd, d.hd95, d.assd) for d in pair[:1]] == [pytest.approx((d.hd, d.hd95, d.assd)) for d in pair[1:]]
    assert pair[0].diagonal_mm == pytest.approx(pair[1].diagonal_mm)


def test_two_voxels_of_a_tilted_gantry_are_as_far_apart_as_in_the_body():
    steps = np.array([[1.0, 0, 0], [0, 1.0, 1.5], [0, 0, 5.0]])  # 16.7° of tilt
    one, other = np.zeros((2, 3, 3, 5), bool)
    one[1, 1, 0], other[1, 1, 4] = True, True
    assert SurfaceDistances.between(one, other, steps).hd == pytest.approx(4 * np.hypot(5.0, 1.5))
    assert hausdorff95(one, other, steps) == pytest.approx(4 * np.hypot(5.0, 1.5))
    nothing = SurfaceDistances.between(one, np.zeros_like(one), steps)
    assert nothing.hd == pytest.approx(np.linalg.norm(steps @ (3, 3, 5)))  # the longest of the diagonals
