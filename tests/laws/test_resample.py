"""Laws of resizing slices and labels, with a filter written out by hand and scipy as independent oracles."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from segfocal.errors import UserError
from segfocal.grid import Grid, Volume
from segfocal.resample import ModelGrid, resize_labels, resize_slices, resize_volume, resized
from tests.scans import AFFINES, sphere, world_mm

law = settings(deadline=None, max_examples=50)  # no deadline: a busy machine is no counterexample

sizes = st.tuples(st.integers(1, 23), st.integers(1, 23))

# float32 carries 7 digits; a resized value is a sum of a few dozen products.
FLOAT32 = 1e-5


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def triangle_weights(size, new):
    """Return the matrix [new,size] of a triangle filter as wide as the larger of the two pixels, rows summing to 1."""
    scale = size / new
    centres = (np.arange(new) + 0.5) * scale
    distance = np.abs(np.arange(size)[None] + 0.5 - centres[:, None]) / max(scale, 1.0)
    weights = np.clip(1.0 - distance, 0.0, None)
    return weights / weights.sum(1, keepdims=True)


def centroid_mm(volume):
    return world_mm(volume.grid.affine, np.argwhere(volume.array > 0)).mean(0)


@law
@given(sizes, sizes, st.floats(-1000.0, 1000.0, width=32))
def test_a_constant_stays_constant(size, new, value):
    out = resize_slices(np.full((2, *size), value, dtype=np.float32), new)
    assert out.shape == (2, *new)
    np.testing.assert_allclose(out, value, rtol=FLOAT32, atol=1e-35)  # nearer to 0, float32 has fewer digits


@law
@given(sizes, sizes.filter(lambda size: size[1] > 1))  # PyTorch 2.13 errs where the result is one column wide
def test_values_are_those_of_a_triangle_filter(size, new):
    slices = noise(3, *size)
    rows, columns = triangle_weights(size[0], new[0]), triangle_weights(size[1], new[1])
    np.testing.assert_allclose(resize_slices(slices, new), rows @ slices @ columns.T, atol=FLOAT32)


def test_enlarged_values_are_scipys_linear_interpolation():
    slices, new = noise(2, 7, 5), (19, 13)
    at = [(np.arange(n) + 0.5) * size / n - 0.5 for n, size in zip(new, slices.shape[1:], strict=True)]
    mesh = np.meshgrid(*at, indexing="ij")
    expected = np.stack([map_coordinates(s.astype(float), mesh, order=1, mode="nearest") for s in slices])
    np.testing.assert_allclose(resize_slices(slices, new), expected, atol=FLOAT32)


def test_the_same_size_returns_the_same_values():
    slices = noise(3, 9, 7)
    np.testing.assert_array_equal(resize_slices(slices, (9, 7)), slices)
    images = torch.from_numpy(slices)[:, None]
    assert torch.equal(resized(images, (9, 7)), images)
    labels = np.random.default_rng(0).integers(0, 4, (3, 9, 7))
    np.testing.assert_array_equal(resize_labels(labels, [1, 2, 3], (9, 7)), labels)


def test_many_slices_are_resized_as_one_by_one():
    slices = noise(67, 6, 5)  # more than two chunks, the last one short
    alone = np.concatenate([resize_slices(s[None], (4, 9)) for s in slices])
    np.testing.assert_array_equal(resize_slices(slices, (4, 9)), alone)


def test_a_flipped_view_and_other_number_types_are_resized_as_a_float_copy():
    slices = np.random.default_rng(0).integers(-1000, 1000, (4, 7, 6)).astype(">i2")[:, ::-1].transpose(0, 2, 1)
    copy = np.ascontiguousarray(slices, dtype=np.float32)
    np.testing.assert_array_equal(resize_slices(slices, (5, 11)), resize_slices(copy, (5, 11)))
    np.testing.assert_array_equal(resize_slices(slices, (6, 7)), copy)


@pytest.mark.parametrize("new", [(90, 131), (41, 27), (33, 61), (60, 40)])
def test_one_structure_keeps_its_area(new):
    size, radius = (61, 41), 14.0
    rows, columns = np.ogrid[: size[0], : size[1]]
    disc = (np.hypot(rows - 28.3, columns - 19.6) <= radius)[None]
    share_before = disc.mean()
    share_after = (resize_labels(disc.astype(np.uint8), [1], new) == 1).mean()
    # The outline may move by a tenth of the coarsest pixel: 2·0.1/14 of the area at most, and a little for counting.
    assert share_after == pytest.approx(share_before, rel=0.02)


@law
@given(st.integers(2, 5), st.integers(2, 5), st.integers(0, 2**32 - 1))
def test_blocks_shrunk_to_a_pixel_keep_their_label(down, across, seed):
    """A triangle filter gives a block at least (3/4)² > 1/2 of its own pixel, whatever surrounds it."""
    coarse = np.random.default_rng(seed).integers(0, 4, (2, 5, 7))
    fine = coarse.repeat(down, axis=1).repeat(across, axis=2)
    np.testing.assert_array_equal(resize_labels(fine, [1, 2, 3], (5, 7)), coarse)
    np.testing.assert_array_equal(resize_labels(fine, [2], (5, 7)), coarse == 2)


@law
@given(st.sampled_from([3, 5]), st.integers(0, 2**32 - 1))
def test_the_middle_of_an_enlarged_pixel_keeps_its_label(factor, seed):
    coarse = np.random.default_rng(seed).integers(0, 4, (2, 5, 7))
    large = resize_labels(coarse, [1, 2, 3], (5 * factor, 7 * factor))
    middle = slice(factor // 2, None, factor)
    np.testing.assert_array_equal(large[:, middle, middle], coarse)


@pytest.mark.parametrize("new", [(40, 54), (13, 17), (23, 31), (7, 9)])
def test_no_big_structure_is_lost_and_none_grows_over_another(new):
    """Six bands of one width, touching: each keeps its share of the picture to within half a pixel an edge."""
    labels = np.repeat(np.arange(6), 9)[None, None].repeat(41, axis=1)
    out = resize_labels(labels, [1, 2, 3, 4, 5], new)
    assert set(np.unique(out)) == set(range(6))
    shares = [(out == k).mean() for k in range(6)]
    # Each of a band's two edges falls on a pixel border at most half a pixel away.
    np.testing.assert_allclose(shares, 1 / 6, atol=1.0 / new[1])


def test_labels_become_their_place_in_the_list_and_all_else_background():
    labels = np.array([[[0, 7, 3, 300, -1]]])
    np.testing.assert_array_equal(resize_labels(labels, [300, 3], (1, 5)), [[[0, 0, 2, 1, 0]]])


def test_unnamed_labels_take_their_share_as_background():
    """Of five voxels of one pixel two are structure 1: the largest share, until two unnamed labels hold three."""
    assert resize_labels(np.array([[[2, 1, 5, 1, 2]]]), [1, 2], (1, 1)).item() == 1
    assert resize_labels(np.array([[[2, 1, 5, 9, 0]]]), [1, 2], (1, 1)).item() == 0


def test_an_empty_label_map_stays_empty():
    assert not resize_labels(np.zeros((2, 9, 7), dtype=np.uint8), [1], (4, 5)).any()
    assert not resize_labels(np.zeros((2, 9, 7), dtype=np.uint8), [1, 2], (4, 5)).any()


@pytest.mark.parametrize("name", AFFINES)
@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0), (2.3, 1.9), (0.45, 0.6)])
def test_a_sphere_stays_centred_in_the_patient(name, spacing_mm):
    grid = Grid(shape=(31, 27, 25), affine=AFFINES[name])
    where = world_mm(grid.affine, (14.2, 13.9, 11.7))
    ball = Volume(array=sphere(grid.shape, grid.affine, radius_mm=6.5, centre=where).astype(np.uint8), grid=grid)
    seen = ModelGrid(frame="SPL", spacing_mm=spacing_mm).labels(ball, [1])
    # A ball of several voxels averages its outline: a tenth of the coarsest voxel remains.
    coarsest = max(*grid.spacing_mm, *spacing_mm)
    np.testing.assert_allclose(centroid_mm(seen), centroid_mm(ball), atol=0.1 * coarsest)


@pytest.mark.parametrize("name", AFFINES)
@pytest.mark.parametrize("factor", [3.0, 1 / 3, 0.41])
def test_a_picture_of_world_coordinates_still_tells_them(name, factor):
    """A wrong half pixel or a swapped axis anywhere between scan and model grid would show."""
    grid = Grid(shape=(18, 15, 12), affine=AFFINES[name])
    turned = grid.oriented(grid.orientation_to("SPL"))
    model = ModelGrid(frame="SPL", spacing_mm=(turned.spacing_mm[1] * factor, turned.spacing_mm[2] * factor))
    for axis in range(3):
        coordinate = world_mm(grid.affine, np.moveaxis(np.indices(grid.shape), 0, -1))[..., axis]
        seen = model.image(Volume(array=coordinate.astype(np.float32), grid=grid))
        expected = world_mm(seen.grid.affine, np.moveaxis(np.indices(seen.grid.shape), 0, -1))[..., axis]
        margin = 1 if factor > 1 else int(np.ceil(1 / factor))  # at the border the filter sees one side only
        inner = (slice(None), slice(margin, -margin), slice(margin, -margin))
        assert seen.array[inner].size > 0
        np.testing.assert_allclose(seen.array[inner], expected[inner], atol=1e-4)  # float32 of up to 100 mm


@pytest.mark.parametrize("name", AFFINES)
def test_the_slice_axis_is_never_resampled(name):
    grid = Grid(shape=(31, 27, 25), affine=AFFINES[name])
    turned = grid.oriented(grid.orientation_to("SPL"))
    seen = ModelGrid(frame="SPL", spacing_mm=(1.7, 0.9)).of(grid)
    assert seen.shape[0] == turned.shape[0]
    assert seen.spacing_mm[0] == pytest.approx(turned.spacing_mm[0], rel=1e-12)  # float64 rounding
    for size, mm, wanted in zip(seen.shape[1:], seen.spacing_mm[1:], (1.7, 0.9), strict=True):
        assert abs(mm - wanted) <= wanted / (2 * size) * 1.1  # half a pixel shared among `size`, and second order


@pytest.mark.parametrize("name", AFFINES)
def test_without_a_spacing_the_model_sees_the_scans_own_values(name):
    grid = Grid(shape=(6, 5, 4), affine=AFFINES[name])
    scan = Volume(array=noise(*grid.shape), grid=grid)
    seen = ModelGrid(frame="SPL").image(scan)
    np.testing.assert_array_equal(seen.array, scan.oriented("SPL").array)
    assert seen.array.flags["C_CONTIGUOUS"]
    assert scan.oriented("SPL").grid.difference(seen.grid, tolerance_mm=0.0) is None


def test_image_and_labels_land_on_one_grid():
    grid = Grid(shape=(17, 13, 7), affine=AFFINES["oblique"])
    model = ModelGrid(frame="SPL", spacing_mm=(1.3, 0.7))
    image = model.image(Volume(array=noise(*grid.shape), grid=grid))
    labels = model.labels(Volume(array=np.ones(grid.shape, dtype=np.uint8), grid=grid), [1])
    assert image.array.shape == labels.array.shape == model.of(grid).shape
    assert image.grid.difference(labels.grid, tolerance_mm=0.0) is None
    assert (labels.array == 1).all()


def test_a_wrong_model_grid_is_refused():
    with pytest.raises(ValueError, match="three letters"):
        ModelGrid(frame="SPS")
    with pytest.raises(ValueError, match="spacing > 0 mm"):
        ModelGrid(spacing_mm=(1.0, 0.0))


# Through plane


@law
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_the_slice_axis_is_resized_by_the_same_filter(depth, new, seed):
    volume = noise(depth, 7, 5, seed=seed)
    slices = resize_slices(volume, (5, 9))
    weights = triangle_weights(depth, new)
    expected = np.einsum("nd,dhw->nhw", weights, slices)
    np.testing.assert_allclose(resize_volume(volume, (new, 5, 9)), expected, atol=FLOAT32)


@pytest.mark.parametrize("mm_d", [0.9, 2.0, 3.7])
def test_a_ball_keeps_its_place_and_volume_through_plane(mm_d):
    grid = Grid(shape=(31, 27, 25), affine=AFFINES["oblique"])
    where = world_mm(grid.affine, (14.2, 13.9, 11.7))
    ball = Volume(array=sphere(grid.shape, grid.affine, radius_mm=6.5, centre=where).astype(np.uint8), grid=grid)
    seen = ModelGrid(spacing_mm=(mm_d, 1.3, 1.1)).labels(ball, [1])
    assert seen.grid.spacing_mm == pytest.approx((mm_d, 1.3, 1.1), rel=0.1)
    coarsest = max(*grid.spacing_mm, *seen.grid.spacing_mm)
    np.testing.assert_allclose(centroid_mm(seen), centroid_mm(ball), atol=0.1 * coarsest)


def test_several_structures_through_plane_share_the_voxels_by_the_largest_part():
    labels = np.repeat(np.arange(4), 6)[:, None, None].repeat(5, axis=1).repeat(4, axis=2)
    out = resize_labels(labels, [1, 2, 3], (12, 5, 4))
    np.testing.assert_array_equal(out[:, 2, 2], np.repeat(np.arange(4), 3))


def test_a_spacing_of_one_number_or_four_is_told():
    for spacing_mm in ((1.0,), (1.0, 1.0, 1.0, 1.0), (0.0, 1.0, 1.0)):
        with pytest.raises(ValueError, match=r"\(h, w\) or \(d, h, w\)"):
            ModelGrid(spacing_mm=spacing_mm)


def test_a_spacing_that_leaves_one_slice_of_several_is_told():
    grid = Grid(shape=(9, 8, 3), affine=np.diag([1.0, 1.0, 5.0, 1.0]))
    with pytest.raises(UserError, match=r"found 3×8×9 voxels of 5×1×1 mm"):
        ModelGrid(spacing_mm=(20.0, 1.0, 1.0)).of(grid)


def shares_compared(labels, values, size):
    """Return the class of the largest share, each share resized as a whole picture of its own."""

    def share_of(mask):
        return resized(torch.from_numpy(mask.astype(np.float32))[:, None], size)[:, 0].numpy()

    best = share_of(~np.isin(labels, values)) if len(values) > 1 else np.full((len(labels), *size), 0.5, np.float32)
    out = np.zeros((len(labels), *size), dtype=np.uint8)
    for index, value in enumerate(values, start=1):
        share = share_of(labels == value)
        wins = (share >= best) & (share > 0)
        out[wins], best[wins] = index, share[wins]
    return out


@law
@given(sizes, sizes, st.lists(st.integers(1, 5), min_size=1, max_size=4, unique=True), st.integers(0, 2**32 - 1))
def test_labels_resized_where_they_are_equal_whole_pictures_to_the_last_bit(size, new, values, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 6, (3, *size)).astype(np.uint8)
    for one in labels:  # each slice labelled in a box of its own, perhaps an empty one
        top, left = rng.integers(0, size[0] + 1), rng.integers(0, size[1] + 1)
        one[:top], one[:, left:] = 0, 0
    np.testing.assert_array_equal(resize_labels(labels, values, new), shares_compared(labels, values, new))
