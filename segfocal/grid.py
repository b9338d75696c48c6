"""Where the voxels of an array lie in the patient: shape and affine, and how arrays turn from one frame to another.

World coordinates are NIfTI's RAS+: x grows to the patient's right, y to the front, z to the head, in millimetres.
A *frame* is three letters, one for each array axis: the direction in which that axis grows. In "SPL" axis 0 goes to the
head (through the slices), axis 1 to the back (down the picture), and axis 2 to the patient's left (to the right of the
picture). This is how radiologists look at an axial slice.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Shape = tuple[int, int, int]

NEAR = 0.1  # of a voxel: grids that differ by no more are one
_SHEAR = 1e-4  # cosine of two axes; float32 headers of scans without shear have some 1e-7
_LETTERS = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}


@dataclass(frozen=True, kw_only=True)
class Orientation:
    """How to turn an array into another frame: first permute its axes, then flip some of the new ones."""

    axes: tuple[int, int, int]
    flips: tuple[bool, bool, bool]

    def apply(self, array: NDArray) -> NDArray:
        """Return a view of `array` (three leading spatial axes) in the new frame."""
        turned = array.transpose(*self.axes, *range(3, array.ndim))
        return turned[tuple(slice(None, None, -1 if flip else 1) for flip in self.flips)]

    def undo(self, array: NDArray) -> NDArray:
        """Return a view of `array`, which is in the new frame, back in the old one; the exact inverse of `apply`."""
        back = array[tuple(slice(None, None, -1 if flip else 1) for flip in self.flips)]
        return back.transpose(*np.argsort(self.axes), *range(3, array.ndim))


@dataclass(frozen=True, kw_only=True, eq=False)
class Grid:
    """The shape of a 3-D array and the affine [4,4] from voxel indices to world millimetres.

    Args:
        shape: voxels along each axis.
        affine: from voxel indices to the world.
        slack_mm: by how much voxels may lie elsewhere because the file stores a rotation in few digits (a quaternion).
    """

    shape: Shape
    affine: NDArray[np.float64]
    slack_mm: float = 0.0

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between neighbouring voxel centres along each array axis."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(x), float(y), float(z)

    @property
    def voxel_mm3(self) -> float:
        """Volume of a voxel in mm³, also of a sheared grid."""
        return abs(float(np.linalg.det(self.affine[:3, :3])))

    @property
    def sheared(self) -> bool:
        """Whether the axes are not at right angles, as of a CT with a tilted gantry."""
        cosines = self.affine[:3, :3] / np.array(self.spacing_mm)
        return not np.allclose(cosines.T @ cosines, np.eye(3), atol=_SHEAR)

    @property
    def steps_mm(self) -> tuple[float, float, float] | NDArray[np.float64]:
        """By what distances are measured: the spacing, or of a sheared grid the steps to the next voxels as columns."""
        return self.affine[:3, :3] if self.sheared else self.spacing_mm

    def voxels_to(self, other: Grid) -> NDArray[np.float64]:
        """Return the matrix [4,4] from voxels of this grid to voxels of another."""
        return np.linalg.inv(other.affine) @ self.affine

    @property
    def frame(self) -> str:
        """Three letters naming the direction nearest to each array axis."""
        return "".join(_letter(world, sign) for world, sign in self._nearest_axes())

    def _nearest_axes(self) -> list[tuple[int, int]]:
        """Return for each array axis the world axis nearest to it, and its sign.

        Of the six ways to pair three axes with three, it is the one with the largest sum of direction cosines. To take
        the largest cosine axis by axis could use a world axis twice on an oblique scan.
        """
        cosines = self.affine[:3, :3] / np.maximum(np.array(self.spacing_mm), 1e-12)
        best = max(itertools.permutations(range(3)), key=lambda p: sum(abs(cosines[p[i], i]) for i in range(3)))
        return [(world, 1 if cosines[world, axis] >= 0 else -1) for axis, world in enumerate(best)]

    def orientation_to(self, frame: str) -> Orientation:
        """Return the axis permutation and flips that bring an array on this grid nearest to `frame`."""
        wanted = [_LETTERS[letter] for letter in check_frame(frame)]
        mine = self._nearest_axes()
        axes = [next(i for i, (world, _) in enumerate(mine) if world == target) for target, _ in wanted]
        flips = [mine[axis][1] != sign for axis, (_, sign) in zip(axes, wanted, strict=True)]
        return Orientation(axes=(axes[0], axes[1], axes[2]), flips=(flips[0], flips[1], flips[2]))

    def oriented(self, orientation: Orientation) -> Grid:
        """Return the grid of an array on this grid after `orientation.apply`."""
        shape = tuple(self.shape[axis] for axis in orientation.axes)
        move = np.zeros((4, 4))
        move[3, 3] = 1.0
        for new, (old, flip) in enumerate(zip(orientation.axes, orientation.flips, strict=True)):
            move[old, new] = -1.0 if flip else 1.0
            move[old, 3] = self.shape[old] - 1 if flip else 0.0
        return Grid(shape=(shape[0], shape[1], shape[2]), affine=self.affine @ move, slack_mm=self.slack_mm)

    def resized(self, shape: Shape) -> Grid:
        """Return the grid of `shape` voxels over the same box of space; its outer voxel edges coincide, not centres."""
        ratio = np.array(self.shape, dtype=float) / np.array(shape, dtype=float)
        move = np.diag([*ratio, 1.0])
        move[:3, 3] = (ratio - 1.0) / 2.0
        return Grid(shape=shape, affine=self.affine @ move)

    def shape_at(self, spacing_mm: tuple[float | None, float | None, float | None]) -> Shape:
        """Return the shape whose spacing is nearest to `spacing_mm` over the same space; None keeps an axis."""
        sizes = [
            size if wanted is None else max(1, round(size * now / wanted))
            for size, now, wanted in zip(self.shape, self.spacing_mm, spacing_mm, strict=True)
        ]
        return sizes[0], sizes[1], sizes[2]

    def shift_mm(self, other: Grid) -> float:
        """Return by how many mm voxels of one index lie apart on two grids of one shape, at most."""
        moved = _corners(self.shape) @ (self.affine - other.affine).T
        return float(np.linalg.norm(moved[:, :3], axis=1).max())

    def difference(self, other: Grid, *, tolerance_mm: float | None = None) -> str | None:
        """Say in a few words how `other` differs from this grid, or return None when they are the same.

        They are the same when no voxel centre moves by more than `tolerance_mm`; None for a tenth of a voxel along its
        shortest side, and what the rounding of either file explains.
        """
        if self.shape != other.shape:
            return f"shape {other.shape} against {self.shape}"
        if tolerance_mm is None:
            tolerance_mm = NEAR * min(self.spacing_mm) + self.slack_mm + other.slack_mm
        shift = self.shift_mm(other)
        if shift <= tolerance_mm:
            return None
        if not np.allclose(self.spacing_mm, other.spacing_mm, rtol=1e-3):
            return f"spacing {_rounded(other.spacing_mm)} mm against {_rounded(self.spacing_mm)} mm"
        return f"voxels up to {shift:.3g} mm apart (another origin or direction)"

    def turn_to(self, other: Grid) -> Orientation | None:
        """Return how an array on this grid is turned onto `other`, whose axes run another way; None where it cannot be.

        Nothing is interpolated: the voxels of both lie at the same places, as `difference` has it.
        """
        linear = self.voxels_to(other)[:3, :3]
        axes = np.argmax(np.abs(linear), axis=1)
        if len(set(axes.tolist())) < 3:
            return None
        flips = [linear[new, old] < 0 for new, old in enumerate(axes)]
        turn = Orientation(
            axes=(int(axes[0]), int(axes[1]), int(axes[2])), flips=(bool(flips[0]), bool(flips[1]), bool(flips[2]))
        )
        return turn if other.difference(self.oriented(turn)) is None else None


@dataclass(frozen=True, kw_only=True, eq=False)
class Volume:
    """An array [x,y,z], or of several channels [x,y,z,c], together with its grid."""

    array: NDArray
    grid: Grid

    def channels(self) -> tuple[Volume, ...]:
        """Return each channel as a volume [x,y,z] (a view)."""
        if self.array.ndim == 3:
            return (self,)
        return tuple(Volume(array=self.array[..., c], grid=self.grid) for c in range(self.array.shape[3]))

    def on(self, grid: Grid) -> Volume | None:
        """Return this volume with exactly the grid given, its array turned where that is stored another way (a view).

        None where its voxels lie elsewhere.
        """
        turn = self.grid.turn_to(grid)
        return None if turn is None else Volume(array=turn.apply(self.array), grid=grid)

    def oriented(self, frame: str) -> Volume:
        """Return this volume with its axes permuted and flipped to the nearest `frame` (a view, nothing resampled)."""
        orientation = self.grid.orientation_to(frame)
        return Volume(array=orientation.apply(self.array), grid=self.grid.oriented(orientation))


def check_frame(frame: str) -> str:
    """Return `frame`, or raise ValueError unless it is three letters naming three different body axes."""
    if len(frame) != 3 or any(c not in _LETTERS for c in frame) or len({_LETTERS[c][0] for c in frame}) != 3:
        raise ValueError(f"expected a frame of three letters, one each of R/L, A/P, S/I (as SPL); got {frame!r}")
    return frame


def _letter(world: int, sign: int) -> str:
    return next(letter for letter, direction in _LETTERS.items() if direction == (world, sign))


def _corners(shape: Shape) -> NDArray[np.float64]:
    """Return the indices [8,4] of the corner voxels, each with a 1 behind it."""
    return np.array([(*corner, 1) for corner in itertools.product(*[(0, size - 1) for size in shape])], dtype=float)


def _rounded(values: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(round(v, 4) for v in values)
