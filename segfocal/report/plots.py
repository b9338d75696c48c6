"""Pictures a person looks at: slices with outlines, training curves. Drawn without a display."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from segfocal.files import written_beside

REFERENCE, PREDICTION = "#00c853", "#ff5252"
Series = tuple[Sequence[float], Sequence[float]]
_COLOURS = ("#1f77b4", "#d95f02", "#7b3294", "#1b9e77", "#e7298a", "#666666")


@dataclass(frozen=True, kw_only=True, eq=False)
class Panel:
    """One slice: image [h,w] in [0,1], masks [h,w], pixel height over width, a title."""

    image: NDArray
    reference: NDArray
    prediction: NDArray
    aspect: float
    title: str


def overlay(path: Path, panels: Sequence[Panel], *, heading: str, plain: bool = True) -> None:
    """Write slices as PNG: each image with both outlines, below the image without them if `plain`."""
    figure = Figure(figsize=(3.2 * max(len(panels), 2), 6.9 if plain else 3.9), facecolor="white")
    _leave(figure, left=0.05, right=0.05, top=0.7, bottom=0.35, between=0.03)
    axes = figure.subplots(1 + plain, len(panels), squeeze=False)
    for column, panel in enumerate(panels):
        for axis in axes[:, column]:
            axis.imshow(panel.image, cmap="gray", vmin=0, vmax=1, aspect=panel.aspect)
            axis.set_axis_off()
        axes[0][column].set_title(panel.title, fontsize=10)
        for mask, colour in ((panel.reference, REFERENCE), (panel.prediction, PREDICTION)):
            if mask.any() and not mask.all() and min(mask.shape) > 1:
                axes[-1][column].contour(mask.astype(float), levels=[0.5], colors=[colour], linewidths=1.1)
    figure.suptitle(heading, fontsize=12)
    figure.supxlabel("green: reference    red: prediction", fontsize=10)
    _save(figure, path)


def slices_of(
    image: NDArray,
    reference: NDArray,
    prediction: NDArray,
    *,
    numbers: Sequence[int],
    aspect: float,
    count: int = 4,
    errors: bool = False,
) -> list[Panel]:
    """Return panels of the slices [d,h,w] where the reference is largest, in order, titled by their `numbers`.

    Without a reference voxel, the prediction decides; with `errors` the number of wrong pixels does.
    """
    shown = reference ^ prediction if errors else reference if reference.any() else prediction
    areas = shown.reshape(len(image), -1).sum(1)
    chosen = sorted(np.argsort(areas, kind="stable")[::-1][:count].tolist())
    return [
        Panel(
            image=image[z],
            reference=reference[z],
            prediction=prediction[z],
            aspect=aspect,
            title=f"slice {numbers[z]}",
        )
        for z in chosen
    ]


def curves(path: Path, losses: Mapping[str, Series], scores: Mapping[str, Series]) -> None:
    """Write training curves as PNG: loss by step, each series (x, y) by name; scores in a second panel if any."""
    figure = Figure(figsize=(9 if scores else 5.5, 3.6), facecolor="white")
    _leave(figure, left=0.75, right=0.1, top=0.1, bottom=0.55, between=0.22)
    axes: Any = figure.subplots(1, 2 if scores else 1, squeeze=False)[0]
    for (name, (steps, values)), colour in zip(losses.items(), _COLOURS * 4, strict=False):
        axes[0].plot(steps, values, color=colour, alpha=0.25, linewidth=0.8)
        axes[0].plot(steps, _smoothed(values), color=colour, label=name, linewidth=1.6)
    if all(value > 0 for _, values in losses.values() for value in values):
        axes[0].set_yscale("log")
    axes[0].set(xlabel="step", ylabel="loss (terms unweighted)")
    axes[0].legend(frameon=False)
    if scores:
        for (name, (steps, values)), colour in zip(scores.items(), _COLOURS * 4, strict=False):
            axes[1].plot(steps, values, "o-", color=colour, label=name, markersize=4)
        axes[1].set(xlabel="step", ylabel="Dice on whole held-out volumes", ylim=(0, 1))
        axes[1].grid(alpha=0.3)
        axes[1].legend(frameon=False, loc="lower right")
    _save(figure, path)


def anatomy(
    path: Path, terms: Mapping[str, Series], shares: Mapping[str, Series], followed: Mapping[str, Series]
) -> None:
    """Write as PNG where a loss comes from: its terms unweighted, shares of it in [0,1], and what follows training."""
    panels = [("terms, unweighted", terms), ("shares and factors", shares), ("values that follow training", followed)]
    panels = [(title, series) for title, series in panels if series]
    rows = max((len(series) + 1) // 2 for _, series in panels)  # of the legends below
    figure = Figure(figsize=(4.6 * len(panels), 3.4 + 0.25 * rows), facecolor="white")
    _leave(figure, left=0.65, right=0.1, top=0.35, bottom=0.65 + 0.25 * rows, between=0.2)
    for axis, (title, series) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for (name, (steps, values)), colour in zip(series.items(), _COLOURS * 4, strict=False):
            drawn = values if series is followed else _smoothed(values)
            axis.plot(steps, drawn, color=colour, label=name.replace("_", " "), linewidth=1.6)
        axis.set(xlabel="step", title=title)
        if series is terms and all(value > 0 for _, values in series.values() for value in values):
            axis.set_yscale("log")
        else:
            axis.set_ylim(bottom=0, top=1.02 if series is shares else None)
        axis.grid(alpha=0.3)
        axis.legend(frameon=False, fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=2)
    _save(figure, path)


def heatmap(
    path: Path,
    values: Sequence[Sequence[float]],
    *,
    rows: tuple[str, Sequence[float]],
    columns: tuple[str, Sequence[float]],
) -> None:
    """Write a grid of mean Dice as PNG, the best cell framed, NaN where there is none."""
    array = np.asarray(values, dtype=float)
    (row_name, row_values), (column_name, column_values) = rows, columns
    figure = Figure(figsize=(2.2 + 0.8 * array.shape[1], 1.6 + 0.55 * array.shape[0]), layout="constrained")
    axis = figure.subplots()
    image = axis.imshow(np.ma.masked_invalid(array), cmap="viridis", aspect="auto")
    middle = (np.nanmin(array) + np.nanmax(array)) / 2 if np.isfinite(array).any() else 0.0
    for (i, j), value in np.ndenumerate(array):
        text = f"{value:.3f}" if np.isfinite(value) else "no run"
        axis.text(j, i, text, ha="center", va="center", fontsize=9, color="white" if not value > middle else "black")
    if np.isfinite(array).any():
        i, j = np.unravel_index(np.nanargmax(array), array.shape)
        axis.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, fill=False, edgecolor="#ff5252", linewidth=2.5))
    axis.set_xticks(range(len(column_values)), [f"{value:g}" for value in column_values])
    axis.set_yticks(range(len(row_values)), [f"{value:g}" for value in row_values])
    axis.set(xlabel=column_name, ylabel=row_name)
    figure.colorbar(image, label="mean Dice")
    _save(figure, path)


def score_curves(path: Path, scores: Mapping[str, Series]) -> None:
    """Write validation Dice by step as PNG, one line for each name."""
    figure = Figure(figsize=(8, 4.2), layout="constrained", facecolor="white")
    axis = figure.subplots()
    colours = colormaps["turbo"](np.linspace(0.05, 0.95, max(len(scores), 2)))
    for (name, (steps, values)), colour in zip(scores.items(), colours, strict=False):
        axis.plot(steps, values, "o-", color=colour, label=name, markersize=3.5, linewidth=1.3)
    axis.set(xlabel="step", ylabel="Dice on whole held-out volumes, mean over seeds", ylim=(0, 1))
    axis.grid(alpha=0.3)
    axis.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    _save(figure, path)


def click_curves(
    path: Path, curves: Mapping[str, Series], *, boxes: Mapping[str, float], unasked: Mapping[str, float]
) -> None:
    """Write Dice by number of clicks as PNG, one line for each name, the last in black.

    boxes: the Dice of box prompts by name, as dashed lines in the same colours. unasked: that without any prompt, as
    marks at no clicks.
    """
    figure = Figure(figsize=(8, 4.2), layout="constrained", facecolor="white")
    axis = figure.subplots()
    colours = dict(zip(curves, colormaps["turbo"](np.linspace(0.05, 0.95, max(len(curves), 2))), strict=False))
    if len(curves) > 1:
        colours[list(curves)[-1]] = np.array([0.0, 0.0, 0.0, 1.0])
    for name, (clicks, values) in curves.items():
        axis.plot(clicks, values, "o-", color=colours[name], label=name, markersize=4, linewidth=1.5)
        if name in boxes:
            axis.axhline(boxes[name], color=colours[name], linestyle="--", linewidth=1, alpha=0.7)
        if name in unasked:
            axis.plot([0], [unasked[name]], "x", color=colours[name], markersize=6)
    ticks = sorted({0 for _ in unasked} | {int(number) for clicks, _ in curves.values() for number in clicks})
    axis.set_xlim(min(ticks, default=0) - 0.5, max(ticks, default=0) + 0.5)
    axis.set_xticks(ticks, ["none" if number == 0 else str(number) for number in ticks])
    axis.set(xlabel="clicks (dashed: a box)" if boxes else "clicks", ylabel="Dice, mean over slices", ylim=(0, 1))
    axis.grid(alpha=0.3)
    axis.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    _save(figure, path)


def strips(path: Path, values: Mapping[str, Sequence[float]], *, xlabel: str) -> None:
    """Write values in [0,1] as PNG: for each name a row with a dot for each value and a bar at the median."""
    figure = Figure(figsize=(8, 0.9 + 0.5 * len(values)), layout="constrained", facecolor="white")
    axis = figure.subplots()
    for row, of_name in enumerate(values.values()):
        ordered = np.sort(np.asarray(of_name, dtype=float))
        spread = 0.24 * np.sin(2.4 * np.arange(len(ordered)))  # apart from their neighbours, and the same every time
        axis.scatter(ordered, row + spread, s=16, color=_COLOURS[0], alpha=0.55, linewidths=0)
        axis.plot([np.median(ordered)] * 2, [row - 0.38, row + 0.38], color="#1c2733", linewidth=2.2)
    axis.set_yticks(range(len(values)), list(values))
    axis.set(xlabel=xlabel, xlim=(-0.02, 1.02), ylim=(len(values) - 0.5, -0.5))
    axis.grid(axis="x", alpha=0.3)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.tick_params(axis="y", length=0)
    _save(figure, path)


def shares(path: Path, values: Mapping[str, tuple[float, float]]) -> None:
    """Write as PNG what share of all voxels, and of all slices, each name has, on a logarithmic axis."""
    figure = Figure(figsize=(8, 1.2 + 0.3 * len(values)), layout="constrained", facecolor="white")
    axis = figure.subplots()
    rows = np.arange(len(values))
    for place, (label, colour) in enumerate((("of voxels", _COLOURS[0]), ("of slices", "#a6c8e0"))):
        axis.barh(rows + 0.2 - 0.4 * place, [pair[place] for pair in values.values()], 0.38, label=label, color=colour)
    axis.set_xscale("log")
    axis.set_yticks(rows, list(values))
    axis.set(xlabel="share", xlim=(min([1e-3, *(v / 2 for v, _ in values.values() if v > 0)]), 1))
    axis.set_ylim(len(values) - 0.5, -0.5)
    axis.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    axis.grid(axis="x", alpha=0.3)
    _save(figure, path)


def _smoothed(values: Sequence[float], width: int = 15) -> NDArray:
    """Return the running mean over up to `width` neighbours, shorter at the ends."""
    array = np.asarray(values, dtype=float)
    total = np.concatenate([[0.0], np.cumsum(array)])
    index = np.arange(len(array))
    low, high = np.maximum(index - width // 2, 0), np.minimum(index + width // 2 + 1, len(array))
    return (total[high] - total[low]) / (high - low)


def _leave(figure: Figure, *, left: float, right: float, top: float, bottom: float, between: float) -> None:
    """Leave margins (inches) around the panels and a share of their size between them.

    Figures that every run draws several times do without matplotlib's constrained layout, which is half of their time.
    """
    w, h = figure.get_size_inches()
    figure.subplots_adjust(
        left=left / w, right=1 - right / w, top=1 - top / h, bottom=bottom / h, wspace=between, hspace=between
    )


def _save(figure: Figure, path: Path) -> None:
    with written_beside(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png", pil_kwargs={"compress_level": 3})
