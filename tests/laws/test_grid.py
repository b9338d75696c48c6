"""Laws of frames and grids, for affines of every kind, with nibabel as the independent oracle."""

import itertools

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform

from segfocal.grid import Grid, Orientation, Volume, check_frame
from tests.scans import AFFINES, affine_of, world_mm

FRAMES = [
    "".join(letters) for pairs in itertools.permutations(["RL", "AP", "SI"]) for letters in itertools.product(*pairs)
]  # all 48: 6 orders of the axes, 8 choices of sense

# Sums of a few products of numbers below 1000: float64 keeps 13 digits of them.
ROUNDING_MM = 1e-9

law = settings(deadline=None, max_examples=60)  # no deadline: a busy machine is no counterexample

frames = st.sampled_from(FRAMES)
shapes = st.tuples(*[st.integers(1, 6)] * 3)


@st.composite
def grids(draw, degrees=180.0):
    """Any grid: axes permuted and flipped, each of its own spacing, turned by up to `degrees` about each axis."""
    affine = affine_of(
        spacing_mm=draw(st.tuples(*[st.floats(0.2, 6.0)] * 3)),
        axes=draw(frames),
        degrees=draw(st.tuples(*[st.floats(-degrees, degrees)] * 3)),
        origin_mm=draw(st.tuples(*[st.floats(-500.0, 500.0)] * 3)),
    )
    return Grid(shape=draw(shapes), affine=affine)


def plain_grids():
    """Grids that every reader names alike: each axis within 45° of a body axis (cos 20° · cos 20° − sin³ 20° > 0.8)."""
    return grids(degrees=20.0)


orientations = st.builds(
    Orientation, axes=st.permutations(range(3)).map(tuple), flips=st.tuples(st.booleans(), st.booleans(), st.booleans())
)


def numbered(shape):
    """Return an array whose every voxel has a value of its own: its flat index."""
    return np.arange(np.prod(shape)).reshape(shape)


def all_indices(shape):
    return np.moveaxis(np.indices(shape), 0, -1).reshape(-1, 3)


@law
@given(shapes, orientations)
def test_undo_after_apply_is_identity(shape, orientation):
    array = numbered(shape)
    np.testing.assert_array_equal(orientation.undo(orientation.apply(array)), array)


@law
@given(shapes, orientations)
def test_apply_after_undo_is_identity(shape, orientation):
    array = numbered(shape)
    np.testing.assert_array_equal(orientation.apply(orientation.undo(array)), array)


@law
@given(grids(), frames)
def test_undo_after_apply_is_identity_on_any_grid(grid, frame):
    array, orientation = numbered(grid.shape), grid.orientation_to(frame)
    np.testing.assert_array_equal(orientation.undo(orientation.apply(array)), array)


@law
@given(shapes, orientations)
def test_axes_after_the_third_stay_where_they_are(shape, orientation):
    channels = np.stack([numbered(shape), -numbered(shape)], axis=-1)
    turned = orientation.apply(channels)
    np.testing.assert_array_equal(turned[..., 0], orientation.apply(channels[..., 0]))
    np.testing.assert_array_equal(turned[..., 1], orientation.apply(channels[..., 1]))
    np.testing.assert_array_equal(orientation.undo(turned), channels)


def test_apply_and_undo_copy_nothing():
    array = numbered((5, 3, 2))
    orientation = Orientation(axes=(2, 0, 1), flips=(True, False, True))
    assert np.shares_memory(orientation.apply(array), array)
    assert np.shares_memory(orientation.undo(array), array)


@law
@given(plain_grids())
def test_frame_is_nibabels(grid):
    assert grid.frame == "".join(nib.aff2axcodes(grid.affine))


@law
@given(plain_grids(), frames)
def test_orientation_is_nibabels(grid, frame):
    moves = ornt_transform(io_orientation(grid.affine), axcodes2ornt(frame))
    orientation = grid.orientation_to(frame)
    np.testing.assert_array_equal(
        orientation.apply(numbered(grid.shape)), apply_orientation(numbered(grid.shape), moves)
    )
    turned = grid.oriented(orientation)
    np.testing.assert_allclose(turned.affine, grid.affine @ inv_ornt_aff(moves, grid.shape), atol=ROUNDING_MM)


@law
@given(grids())
def test_spacing_is_nibabels(grid):
    np.testing.assert_allclose(grid.spacing_mm, nib.affines.voxel_sizes(grid.affine), rtol=1e-12)  # float64 rounding


@law
@given(grids(), orientations)
def test_no_voxel_leaves_its_place_in_the_patient(grid, orientation):
    turned_grid, turned = grid.oriented(orientation), orientation.apply(numbered(grid.shape))
    assert turned_grid.shape == turned.shape
    indices = all_indices(turned.shape)
    before = np.stack(np.unravel_index(turned[tuple(indices.T)], grid.shape), axis=-1)
    np.testing.assert_allclose(
        world_mm(turned_grid.affine, indices), world_mm(grid.affine, before), rtol=0, atol=ROUNDING_MM
    )


@law
@given(plain_grids(), frames)
def test_a_volume_turned_to_a_frame_is_in_that_frame(grid, frame):
    turned = Volume(array=numbered(grid.shape), grid=grid).oriented(frame)
    assert turned.grid.frame == frame
    assert turned.grid.shape == turned.array.shape


@law
@given(grids())
def test_a_frame_names_each_body_axis_once_at_any_angle(grid):
    assert check_frame(grid.frame) == grid.frame


@pytest.mark.parametrize("thick", [1.0, 3.0, 0.3])
def test_frame_uses_each_body_axis_once_where_two_voxel_axes_lean_to_the_same(thick):
    affine = np.eye(4)
    affine[:3, :3] = np.array([[0.75, 0.74, 0.1], [0.66, -0.67, 0.1], [0.05, 0.0, 1.0]]) * (1.0, thick, 1.0)
    assert Grid(shape=(3, 4, 5), affine=affine).frame == "RPS"


@pytest.mark.parametrize(
    ("axes", "letters"), [("RAS", "RAS"), ("LPS", "LPS"), ("PIR", "PIR"), ("SRA", "SRA"), ("IAL", "IAL")]
)
def test_frame_reads_as_the_axes_run(axes, letters):
    assert Grid(shape=(2, 3, 4), affine=affine_of(spacing_mm=(0.5, 2.0, 3.0), axes=axes)).frame == letters


def test_spl_is_the_view_of_an_axial_slice():
    """In an RAS scan the head is at high k, the front at high j, the right at high i."""
    array = np.zeros((5, 7, 3))
    array[4, 6, 2] = 1  # right, front, head
    turned = Volume(array=array, grid=Grid(shape=(5, 7, 3), affine=np.eye(4))).oriented("SPL")
    assert [int(i) for i in np.argwhere(turned.array)[0]] == [2, 0, 0]  # last slice, top row, left column


@law
@given(grids(), shapes)
def test_resizing_keeps_the_box_of_space(grid, shape):
    resized = grid.resized(shape)
    assert resized.shape == shape
    corners = np.array(list(itertools.product((0.0, 1.0), repeat=3)))
    np.testing.assert_allclose(
        world_mm(resized.affine, corners * shape - 0.5),
        world_mm(grid.affine, corners * grid.shape - 0.5),
        rtol=0,
        atol=ROUNDING_MM,
    )


@law
@given(grids(), shapes)
def test_resizing_back_gives_the_first_affine(grid, shape):
    back = grid.resized(shape).resized(grid.shape)
    assert back.shape == grid.shape
    np.testing.assert_allclose(back.affine, grid.affine, rtol=0, atol=ROUNDING_MM)


@law
@given(grids())
def test_resizing_to_the_same_shape_changes_nothing(grid):
    np.testing.assert_array_equal(grid.resized(grid.shape).affine, grid.affine)


def test_resizing_by_hand():
    halved = Grid(shape=(8, 6, 5), affine=np.diag([1.0, 2.0, 3.0, 1.0])).resized((4, 6, 15))
    assert halved.spacing_mm == (2.0, 2.0, 1.0)
    np.testing.assert_allclose(halved.affine[:3, 3], [0.5, 0.0, -1.0], atol=1e-12)  # float64 rounding of 1/3


def test_shape_at_a_spacing_by_hand():
    grid = Grid(shape=(10, 7, 5), affine=np.diag([0.5, 2.0, 3.0, 1.0]))
    assert grid.shape_at((1.0, 1.0, None)) == (5, 14, 5)
    assert grid.shape_at((None, None, None)) == (10, 7, 5)
    assert grid.shape_at((0.7, 4.1, 100.0)) == (7, 3, 1)  # 7.14, 3.41, and never below one voxel


@law
@given(grids(), st.tuples(*[st.floats(0.2, 6.0)] * 3))
def test_no_neighbouring_shape_comes_nearer_to_the_wanted_size(grid, wanted):
    shape = grid.shape_at(wanted)
    for size, now, mm, n in zip(grid.shape, grid.spacing_mm, wanted, shape, strict=True):
        assert n == 1 or abs(n - size * now / mm) <= 0.5 + 1e-9  # float64 rounding at exactly half a voxel


@law
@given(grids())
def test_a_grid_does_not_differ_from_itself(grid):
    assert grid.difference(Grid(shape=grid.shape, affine=grid.affine.copy())) is None


@law
@given(grids(), st.floats(0.0, 50.0), st.integers(0, 2))
def test_a_shift_beyond_a_tenth_of_a_voxel_is_a_difference(grid, voxels, axis):
    moved = grid.affine.copy()
    moved[axis, 3] += voxels * min(grid.spacing_mm)
    found = grid.difference(Grid(shape=grid.shape, affine=moved))
    assert found is None if voxels < 0.0999 else voxels < 0.1001 or "mm apart" in found


def test_difference_names_the_shape():
    grid = Grid(shape=(3, 4, 5), affine=AFFINES["oblique"])
    assert grid.difference(Grid(shape=(3, 4, 6), affine=grid.affine)) == "shape (3, 4, 6) against (3, 4, 5)"


def test_difference_names_the_spacing():
    grid = Grid(shape=(3, 4, 5), affine=np.diag([1.0, 1.0, 2.0, 1.0]))
    other = Grid(shape=(3, 4, 5), affine=np.diag([1.0, 1.0, 2.5, 1.0]))
    assert grid.difference(other) == "spacing (1.0, 1.0, 2.5) mm against (1.0, 1.0, 2.0) mm"


def test_difference_names_the_shift_in_mm():
    grid = Grid(shape=(3, 4, 5), affine=np.diag([1.0, 1.0, 2.0, 1.0]))
    moved = grid.affine.copy()
    moved[1, 3] -= 3.25
    assert "3.25 mm apart" in grid.difference(Grid(shape=grid.shape, affine=moved))


def test_difference_sees_a_flip_that_keeps_shape_and_spacing():
    grid = Grid(shape=(5, 4, 3), affine=np.diag([1.0, 1.0, 2.0, 1.0]))
    flipped = Grid(shape=(5, 4, 3), affine=np.diag([-1.0, 1.0, 2.0, 1.0]))
    assert "8 mm apart" in grid.difference(flipped)  # voxel 4 lies at +4 mm in one, −4 mm in the other


def test_difference_forgives_the_rounding_of_float32_headers():
    grid = Grid(shape=(512, 512, 300), affine=affine_of(spacing_mm=(0.7031, 0.7031, 1.25), degrees=(3.0, 5.0, 7.0)))
    rounded = grid.affine.astype(np.float32).astype(float)
    assert grid.difference(Grid(shape=grid.shape, affine=rounded)) is None
    assert grid.difference(Grid(shape=grid.shape, affine=rounded), tolerance_mm=0.0) is not None


@pytest.mark.parametrize("frame", ["SP", "SPLR", "SPX", "SPS", "SIR", "spl", ""])
def test_a_frame_that_is_not_three_body_axes_is_refused(frame):
    with pytest.raises(ValueError, match="expected a frame of three letters"):
        check_frame(frame)


def test_every_frame_of_three_body_axes_is_accepted():
    assert len(FRAMES) == 48
    assert [check_frame(frame) for frame in FRAMES] == FRAMES


def test_a_voxel_has_the_volume_of_its_parallelepiped():
    sheared = np.array([[2.0, 1.0, 0.0, 0], [0, 3.0, 0, 0], [0, 0, 0.5, 0], [0, 0, 0, 1]])
    assert Grid(shape=(2, 2, 2), affine=sheared).voxel_mm3 == pytest.approx(3.0)
    assert Grid(shape=(2, 2, 2), affine=sheared @ np.diag([1, -1, 1, 1])).voxel_mm3 == pytest.approx(3.0)


def test_voxels_of_one_grid_are_found_on_another():
    one = Grid(shape=(5, 5, 5), affine=np.diag([2.0, 2.0, 2.0, 1.0]))
    other = Grid(shape=(9, 9, 9), affine=np.array([[1.0, 0, 0, -3], [0, 1, 0, 1], [0, 0, 4, 0], [0, 0, 0, 1]]))
    assert np.allclose(one.voxels_to(other) @ [1, 2, 3, 1], [5, 3, 1.5, 1])


@law
@given(grids(), orientations)
def test_an_array_is_turned_back_from_any_axes(grid, turn):
    array = numbered(grid.shape)
    stored = Volume(array=turn.apply(array), grid=grid.oriented(turn))
    back = stored.on(grid)
    assert back.grid is grid
    np.testing.assert_array_equal(back.array, array)


@law
@given(grids(), st.integers(0, 2), st.floats(0.2, 3.0))
def test_an_array_elsewhere_is_not_turned(grid, axis, voxels):
    moved = grid.affine.copy()
    moved[axis, 3] += voxels * max(grid.spacing_mm) * (max(grid.shape) + 1)
    assert Volume(array=np.zeros(grid.shape), grid=Grid(shape=grid.shape, affine=moved)).on(grid) is None
