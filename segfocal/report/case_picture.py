"""The picture of a case: some of its slices with the outlines of the reference and the prediction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from segfocal.connected_components import components
from segfocal.grid import Grid, Volume
from segfocal.intensity import Intensity, of_first
from segfocal.report.plots import as_text, leave_margins, save

REFERENCE, PREDICTION = "#00c853", "#ff5252"
_LARGEST, _WRONG = 4, 3  # slices shown


@dataclass(frozen=True, kw_only=True, eq=False)
class CasePicture:
    """What a picture shows.

    Args:
        scan: of several channels the first is drawn; None leaves the background black.
        reference: label map [x,y,z] on the scan's grid.
        prediction: label map on the same grid.
        value: of the structure, in both label maps.
        intensity: how the scan's values become grey values in [0,1].
        frame: the axes of the picture, such as "SPL": slices along the first, rows down, columns to the right.
        heading: text above the slices.
    """

    scan: Volume | None
    reference: Volume
    prediction: Volume
    value: int
    intensity: Intensity
    frame: str
    heading: str


@dataclass(frozen=True, kw_only=True, eq=False)
class _Panel:
    """One slice: image [h,w] in [0,1], masks [h,w], pixel height over width, a title."""

    image: NDArray
    reference: NDArray[np.bool_]
    prediction: NDArray[np.bool_]
    aspect: float
    title: str


def draw_largest(path: Path, picture: CasePicture) -> None:
    """Write a PNG of the slices where the reference is largest: above the slices alone, below with both outlines.

    Without a reference voxel the prediction's largest slices are shown.
    """
    image, true, found = _arrays(picture)
    shown = true if true.any() else found
    _write(path, _panels(picture, image, true, found, ranked_by=shown, count=_LARGEST), picture.heading, plain=True)


def draw_errors(path: Path, picture: CasePicture) -> None:
    """Write a PNG of the slices with most wrong pixels, cut to the piece of both masks together with most of them.

    The slices without outlines stand above only if there is a scan.
    """
    image, true, found = _arrays(picture)
    worst = worst_piece(true, found)
    rows, columns = (
        _around(np.flatnonzero(worst.any(axis=axes)), size)
        for axes, size in zip(((0, 2), (0, 1)), image.shape[1:], strict=True)
    )
    cut = np.s_[:, rows, columns]
    image, true, found = image[cut], true[cut], found[cut]
    panels = _panels(picture, image, true, found, ranked_by=true ^ found, count=_WRONG)
    _write(path, panels, picture.heading, plain=picture.scan is not None)


def worst_piece(true: NDArray[np.bool_], found: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the connected piece of two masks [d,h,w] together in which most voxels are in one of them alone.

    Of one organ that is the organ. Of many lesions it is one of them: all together would be a few pixels each.
    """
    pieces = components(true | found)
    wrong = np.bincount(pieces.numbers[true ^ found], minlength=len(pieces.sizes) + 1)
    wrong[0] = -1
    return pieces.numbers == int(wrong.argmax()) if len(pieces.sizes) else true | found


def _arrays(picture: CasePicture) -> tuple[NDArray, NDArray[np.bool_], NDArray[np.bool_]]:
    """Return the image in [0,1] and the masks of reference and prediction [d,h,w], in the frame of the picture."""
    true, found = (
        volume.oriented(picture.frame).array == picture.value for volume in (picture.reference, picture.prediction)
    )
    if picture.scan is None:
        return np.zeros(true.shape, np.float32), true, found
    first = picture.scan.channels()[0].oriented(picture.frame).array
    return of_first(picture.intensity)(np.ascontiguousarray(first)), true, found


def _panels(
    picture: CasePicture,
    image: NDArray,
    reference: NDArray[np.bool_],
    prediction: NDArray[np.bool_],
    *,
    ranked_by: NDArray[np.bool_],
    count: int,
) -> list[_Panel]:
    """Return the `count` slices with most pixels of the mask `ranked_by`, in order."""
    grid = picture.reference.grid if picture.scan is None else picture.scan.grid
    numbers, aspect = _numbers_and_aspect(grid, picture.frame)
    areas = ranked_by.reshape(len(image), -1).sum(1)
    chosen = sorted(np.argsort(areas, kind="stable")[::-1][:count].tolist())
    return [
        _Panel(
            image=image[z],
            reference=reference[z],
            prediction=prediction[z],
            aspect=aspect,
            title=f"slice {numbers[z]}",
        )
        for z in chosen
    ]


def _write(path: Path, panels: Sequence[_Panel], heading: str, *, plain: bool) -> None:
    """Write slices with both outlines as PNG, above them, if `plain`, the same without."""
    plot = Figure(figsize=(3.2 * max(len(panels), 2), 6.9 if plain else 3.9), facecolor="white")
    leave_margins(plot, left=0.05, right=0.05, top=0.7, bottom=0.35, between=0.03)
    axes = plot.subplots(1 + plain, len(panels), squeeze=False)
    for column, panel in enumerate(panels):
        for axis in axes[:, column]:
            axis.imshow(panel.image, cmap="gray", vmin=0, vmax=1, aspect=panel.aspect)
            axis.set_axis_off()
        axes[0][column].set_title(panel.title, fontsize=10)
        for mask, colour, style in ((panel.reference, REFERENCE, "solid"), (panel.prediction, PREDICTION, "dashed")):
            if (
                mask.any() and not mask.all() and min(mask.shape) > 1
            ):  # dashes let the reference through where both agree
                axes[-1][column].contour(
                    mask.astype(float), levels=[0.5], colors=[colour], linewidths=1.1, linestyles=[style]
                )
    plot.suptitle(as_text(heading), fontsize=12)
    plot.supxlabel("green: reference    red: prediction", fontsize=10)
    save(plot, path)


def _numbers_and_aspect(grid: Grid, frame: str) -> tuple[range, float]:
    """Return the slices' numbers as the file counts them, and how much taller than wide a pixel is in `frame`."""
    orientation = grid.orientation_to(frame)
    turned = grid.oriented(orientation)
    numbers = range(turned.shape[0])
    return numbers[::-1] if orientation.flips[0] else numbers, turned.spacing_mm[1] / turned.spacing_mm[2]


def _around(inside: NDArray[np.intp], size: int) -> slice:
    """Return the part of an axis that holds the indices, with half as much on each side; a sixth of it at least."""
    if not len(inside):
        return slice(0, size)
    low, high = int(inside.min()), int(inside.max()) + 1
    margin = max((high - low) // 2, size // 12, 4)
    return slice(max(0, low - margin), min(size, high + margin))
