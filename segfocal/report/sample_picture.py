"""The picture of training samples: each as read and, below it, as augmented, with the outlines of its targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from segfocal.files import written_beside
from segfocal.report.plots import as_text

_COLOURS = ("#00e676", "#ff5252", "#40c4ff", "#ffd740", "#e040fb", "#ff9100")


@dataclass(frozen=True, kw_only=True, eq=False)
class SamplePair:
    """One sample as read and as augmented.

    Args:
        image: [h,w] in [0,1].
        target: [k,h,w], inside where ≥ 0.5.
        augmented_image: as `image`.
        augmented_target: as `target`.
        title: where the sample came from.
    """

    image: NDArray
    target: NDArray
    augmented_image: NDArray
    augmented_target: NDArray
    title: str


def draw_samples(
    path: Path, samples: Sequence[SamplePair], *, names: Sequence[str], columns: int, aspect: float, heading: str
) -> None:
    """Draw samples side by side, and below each what augmentation made of it.

    Args:
        path: the PNG.
        samples: at least one; all of one shape.
        names: of the targets' channels, for the legend.
        columns: how many samples stand side by side.
        aspect: height of a pixel over its width.
        heading: text above.
    """
    columns = min(columns, len(samples))
    bands = -(-len(samples) // columns)
    h, w = samples[0].image.shape
    cell = 1.55 * aspect * h / w
    plot = Figure(figsize=(0.35 + 1.55 * columns, 0.75 + bands * (2 * cell + 0.3)), facecolor="white")
    plot.set_layout_engine("constrained", w_pad=0.02, h_pad=0.02, wspace=0.0, hspace=0.0)
    parts = plot.subfigures(bands, 1, squeeze=False)[:, 0]
    for band, part in enumerate(parts):
        axes = part.subplots(2, columns, squeeze=False)
        for axis in axes.flat:
            axis.set_axis_off()
        for (upper, lower), sample in zip(axes.T, samples[band * columns : (band + 1) * columns], strict=False):
            _slice(upper, sample.image, sample.target, aspect)
            _slice(lower, sample.augmented_image, sample.augmented_target, aspect)
            upper.set_title(as_text(sample.title), fontsize=7, pad=3)
        for axis, text in zip(axes[:, 0], ("as read", "augmented"), strict=True):
            axis.text(-0.06, 0.5, text, rotation=90, ha="right", va="center", fontsize=8, transform=axis.transAxes)
    plot.suptitle("\n".join(as_text(line, most=200) for line in heading.splitlines()), fontsize=10)
    lines = [Line2D([], [], color=_COLOURS[i % len(_COLOURS)], label=as_text(name)) for i, name in enumerate(names)]
    plot.legend(handles=lines, loc="outside lower center", ncols=8, frameon=False, fontsize=8)
    with written_beside(path) as temporary:
        plot.savefig(temporary, dpi=110, format="png")


def _slice(axis: Axes, image: NDArray, target: NDArray, aspect: float) -> None:
    axis.imshow(image, cmap="gray", vmin=0, vmax=1, aspect=aspect, interpolation="nearest")
    for channel, mask in enumerate(target):
        inside = np.pad(mask >= 0.5, 1)  # closes the outline at the border of the picture
        if inside.any() and min(mask.shape) > 1:
            places = [np.clip(np.arange(-1.0, side + 1), -0.5, side - 0.5) for side in mask.shape]
            colour = _COLOURS[channel % len(_COLOURS)]
            axis.contour(places[1], places[0], inside.astype(float), levels=[0.5], colors=[colour], linewidths=0.9)
