"""Plots of numbers: training curves, comparisons of runs, Dice over cases. Drawn without a display.

Every function writes one PNG. A `Curve` is two lists of one length: where the points lie and how high they are.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from segfocal.files import written_beside
from segfocal.plain_text import visible

Curve = tuple[Sequence[float], Sequence[float]]
_COLOURS = ("#1f77b4", "#d95f02", "#7b3294", "#1b9e77", "#e7298a", "#666666")


@dataclass(frozen=True, kw_only=True)
class DiceGrid:
    """Mean Dice by two numeric options.

    Args:
        rows: name of the option that varies from row to row.
        columns: name of the other one.
        row_values: values of the first option, ascending.
        column_values: values of the other one, ascending.
        dice: [rows][columns] in [0,1]; NaN where no run has finished.
    """

    rows: str
    columns: str
    row_values: Sequence[float]
    column_values: Sequence[float]
    dice: Sequence[Sequence[float]]


def draw_training(path: Path, losses: Mapping[str, Curve], scores: Mapping[str, Curve]) -> None:
    """Draw losses by step on a logarithmic axis, smoothed, and validation Dice by step beside them if there is any."""
    plot = Figure(figsize=(9 if scores else 5.5, 3.6), facecolor="white")
    leave_margins(plot, left=0.75, right=0.1, top=0.1, bottom=0.55, between=0.22)
    axes: Any = plot.subplots(1, 2 if scores else 1, squeeze=False)[0]
    for (name, (steps, values)), colour in zip(losses.items(), _COLOURS * 4, strict=False):
        axes[0].plot(steps, values, color=colour, alpha=0.25, linewidth=0.8)
        axes[0].plot(steps, _smoothed(values), color=colour, label=as_text(name), linewidth=1.6)
    if all(value > 0 for _, values in losses.values() for value in values):
        axes[0].set_yscale("log")
    axes[0].set(xlabel="step", ylabel="loss (terms unweighted)")
    axes[0].legend(frameon=False)
    if scores:
        for (name, (steps, values)), colour in zip(scores.items(), _COLOURS * 4, strict=False):
            axes[1].plot(steps, values, "o-", color=colour, label=as_text(name), markersize=4)
        axes[1].set(xlabel="step", ylabel="Dice on whole held-out volumes", ylim=(0, 1))
        axes[1].grid(alpha=0.3)
        axes[1].legend(frameon=False, loc="lower right")
    save(plot, path)


def draw_loss_anatomy(
    path: Path, terms: Mapping[str, Curve], fractions: Mapping[str, Curve], followed: Mapping[str, Curve]
) -> None:
    """Draw where a loss comes from, by step, in up to three panels.

    Args:
        path: the PNG.
        terms: the loss terms, unweighted.
        fractions: shares of the loss and factors, in [0,1].
        followed: values that follow training, such as a scheduled γ; not smoothed.
    """
    panels = [("terms, unweighted", terms), ("shares and factors", fractions)]
    panels += [("values that follow training", followed)]
    panels = [(title, curves) for title, curves in panels if curves]
    rows = max((len(curves) + 1) // 2 for _, curves in panels)  # of the legends below
    plot = Figure(figsize=(4.6 * len(panels), 3.4 + 0.25 * rows), facecolor="white")
    leave_margins(plot, left=0.65, right=0.1, top=0.35, bottom=0.65 + 0.25 * rows, between=0.2)
    for axis, (title, curves) in zip(plot.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for (name, (steps, values)), colour in zip(curves.items(), _COLOURS * 4, strict=False):
            drawn = values if curves is followed else _smoothed(values)
            axis.plot(steps, drawn, color=colour, label=as_text(name.replace("_", " ")), linewidth=1.6)
        axis.set(xlabel="step", title=title)
        if curves is terms and all(value > 0 for _, values in curves.values() for value in values):
            axis.set_yscale("log")
        else:
            axis.set_ylim(bottom=0, top=1.02 if curves is fractions else None)
        axis.grid(alpha=0.3)
        axis.legend(frameon=False, fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=2)
    save(plot, path)


def draw_heatmap(path: Path, grid: DiceGrid) -> None:
    """Draw mean Dice by two options as coloured cells with their numbers, the best one framed."""
    array = np.asarray(grid.dice, dtype=float)
    plot = Figure(figsize=(2.2 + 0.8 * array.shape[1], 1.6 + 0.55 * array.shape[0]), layout="constrained")
    axis = plot.subplots()
    image = axis.imshow(np.ma.masked_invalid(array), cmap="viridis", aspect="auto")
    middle = (np.nanmin(array) + np.nanmax(array)) / 2 if np.isfinite(array).any() else 0.0
    for (i, j), value in np.ndenumerate(array):
        text = f"{value:.3f}" if np.isfinite(value) else "no run"
        axis.text(j, i, text, ha="center", va="center", fontsize=9, color="white" if not value > middle else "black")
    if np.isfinite(array).any():
        i, j = np.unravel_index(np.nanargmax(array), array.shape)
        axis.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, fill=False, edgecolor="#ff5252", linewidth=2.5))
    axis.set_xticks(range(len(grid.column_values)), [f"{value:g}" for value in grid.column_values])
    axis.set_yticks(range(len(grid.row_values)), [f"{value:g}" for value in grid.row_values])
    axis.set(xlabel=as_text(grid.columns), ylabel=as_text(grid.rows))
    plot.colorbar(image, label="mean Dice")
    save(plot, path)


def draw_scores(path: Path, scores: Mapping[str, Curve]) -> None:
    """Draw validation Dice by step, one line for each name."""
    plot = Figure(figsize=(8, 4.2), layout="constrained", facecolor="white")
    axis = plot.subplots()
    colours = colormaps["turbo"](np.linspace(0.05, 0.95, max(len(scores), 2)))
    for (name, (steps, values)), colour in zip(scores.items(), colours, strict=False):
        axis.plot(steps, values, "o-", color=colour, label=as_text(name), markersize=3.5, linewidth=1.3)
    axis.set(xlabel="step", ylabel="Dice on whole held-out volumes, mean over seeds", ylim=(0, 1))
    axis.grid(alpha=0.3)
    axis.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    save(plot, path)


def draw_clicks(
    path: Path, curves: Mapping[str, Curve], *, boxes: Mapping[str, float], unprompted: Mapping[str, float]
) -> None:
    """Draw Dice by number of clicks, one line for each structure, the last in black.

    Args:
        path: the PNG.
        curves: number of clicks and Dice in [0,1], by structure.
        boxes: Dice of box prompts by structure, as dashed lines in the same colours.
        unprompted: Dice without any prompt by structure, as crosses at no clicks.
    """
    plot = Figure(figsize=(8, 4.2), layout="constrained", facecolor="white")
    axis = plot.subplots()
    colours = dict(zip(curves, colormaps["turbo"](np.linspace(0.05, 0.95, max(len(curves), 2))), strict=False))
    if len(curves) > 1:
        colours[list(curves)[-1]] = np.array([0.0, 0.0, 0.0, 1.0])
    for name, (clicks, values) in curves.items():
        axis.plot(clicks, values, "o-", color=colours[name], label=as_text(name), markersize=4, linewidth=1.5)
        if name in boxes:
            axis.axhline(boxes[name], color=colours[name], linestyle="--", linewidth=1, alpha=0.7)
        if name in unprompted:
            axis.plot([0], [unprompted[name]], "x", color=colours[name], markersize=6)
    ticks = sorted({0 for _ in unprompted} | {int(number) for clicks, _ in curves.values() for number in clicks})
    axis.set_xlim(min(ticks, default=0) - 0.5, max(ticks, default=0) + 0.5)
    axis.set_xticks(ticks, ["none" if number == 0 else str(number) for number in ticks])
    axis.set(xlabel="clicks (dashed: a box)" if boxes else "clicks", ylabel="Dice, mean over slices", ylim=(0, 1))
    axis.grid(alpha=0.3)
    axis.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    save(plot, path)


def draw_volume_clicks(path: Path, curves: Mapping[str, Curve], *, dashed: Collection[str]) -> None:
    """Draw Dice of whole volumes by number of clicks after a box.

    Args:
        path: the PNG.
        curves: number of clicks from 0 and Dice in [0,1], by structure.
        dashed: structures that the model was not trained on.
    """
    plot = Figure(figsize=(8, 4.2), layout="constrained", facecolor="white")
    axis = plot.subplots()
    colours = colormaps["turbo"](np.linspace(0.05, 0.95, max(len(curves), 2)))
    for (name, (clicks, values)), colour in zip(curves.items(), colours, strict=False):
        line = "o--" if name in dashed else "o-"
        axis.plot(clicks, values, line, color=colour, label=as_text(name), markersize=4, linewidth=1.5)
    ticks = sorted({int(number) for clicks, _ in curves.values() for number in clicks})
    axis.set_xticks(ticks, ["box" if number == 0 else str(number) for number in ticks])
    axis.set(xlabel="clicks after a box (dashed: not trained)", ylabel="Dice of the volume", ylim=(0, 1))
    axis.grid(alpha=0.3)
    axis.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    save(plot, path)


def draw_strips(path: Path, values: Mapping[str, Sequence[float]], *, xlabel: str) -> None:
    """Draw values in [0,1]: for each name a row with a dot for each value and a bar at the median."""
    plot = Figure(figsize=(8, 0.9 + 0.5 * len(values)), layout="constrained", facecolor="white")
    axis = plot.subplots()
    for row, of_name in enumerate(values.values()):
        ordered = np.sort(np.asarray(of_name, dtype=float))
        spread = 0.24 * np.sin(2.4 * np.arange(len(ordered)))  # apart from their neighbours, and the same every time
        axis.scatter(ordered, row + spread, s=16, color=_COLOURS[0], alpha=0.55, linewidths=0)
        axis.plot([np.median(ordered)] * 2, [row - 0.38, row + 0.38], color="#1c2733", linewidth=2.2)
    axis.set_yticks(range(len(values)), [as_text(name) for name in values])
    axis.set(xlabel=xlabel, xlim=(-0.02, 1.02), ylim=(len(values) - 0.5, -0.5))
    axis.grid(axis="x", alpha=0.3)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.tick_params(axis="y", length=0)
    save(plot, path)


def draw_froc(path: Path, curves: Mapping[str, Curve]) -> None:
    """Draw the recall of lesions by false positives a case, > 0, on a logarithmic axis, one staircase for each name."""
    plot = Figure(figsize=(8, 3.8), layout="constrained", facecolor="white")
    axis = plot.subplots()
    for (name, (rates, recall)), colour in zip(curves.items(), _COLOURS * len(curves), strict=False):
        axis.plot(rates, recall, drawstyle="steps-post", color=colour, label=as_text(name), linewidth=1.6)
    ends = [rate for rates, _ in curves.values() for rate in (rates[0], rates[-1])]
    axis.set_xscale("log", base=2)
    axis.xaxis.set_major_formatter("{x:g}")
    axis.set(xlabel="false positives a case", ylabel="recall of lesions", xlim=(min(ends), max(ends)), ylim=(0, 1.02))
    axis.grid(alpha=0.3)
    axis.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    save(plot, path)


def draw_foreground(path: Path, values: Mapping[str, tuple[float, float]]) -> None:
    """Draw which share (0,1] of all voxels, and of all slices, each structure has, on a logarithmic axis."""
    plot = Figure(figsize=(8, 1.2 + 0.3 * len(values)), layout="constrained", facecolor="white")
    axis = plot.subplots()
    rows = np.arange(len(values))
    for place, (label, colour) in enumerate((("of voxels", _COLOURS[0]), ("of slices", "#a6c8e0"))):
        axis.barh(rows + 0.2 - 0.4 * place, [pair[place] for pair in values.values()], 0.38, label=label, color=colour)
    axis.set_xscale("log")
    axis.set_yticks(rows, [as_text(name) for name in values])
    axis.set(xlabel="share", xlim=(min([1e-3, *(v / 2 for v, _ in values.values() if v > 0)]), 1))
    axis.set_ylim(len(values) - 0.5, -0.5)
    axis.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    axis.grid(axis="x", alpha=0.3)
    save(plot, path)


def _smoothed(values: Sequence[float], width: int = 15) -> NDArray:
    """Return the running mean over up to `width` neighbours, shorter at the ends."""
    array = np.asarray(values, dtype=float)
    total = np.concatenate([[0.0], np.cumsum(array)])
    index = np.arange(len(array))
    low, high = np.maximum(index - width // 2, 0), np.minimum(index + width // 2 + 1, len(array))
    return (total[high] - total[low]) / (high - low)


def leave_margins(plot: Figure, *, left: float, right: float, top: float, bottom: float, between: float) -> None:
    """Set the margins of a plot by hand: matplotlib's constrained layout takes half of the time of drawing.

    Args:
        plot: with its panels.
        left: margin in inches, as the next three.
        right: as `left`.
        top: as `left`.
        bottom: as `left`.
        between: space between panels, as a share of their size.
    """
    w, h = plot.get_size_inches()
    plot.subplots_adjust(
        left=left / w, right=1 - right / w, top=1 - top / h, bottom=bottom / h, wspace=between, hspace=between
    )


def as_text(name: str, *, most: int = 80) -> str:
    """Return a name from the data as matplotlib shows it, on one line of at most so many letters.

    A dollar sign begins no formula; a legend leaves out what begins with an underscore, so a space stands before it.
    """
    shown = visible(name, lines=False)
    if len(shown) > most:
        shown = f"{shown[: most // 2]}…{shown[-(most // 2) + 1 :]}"
    return f"{' ' * shown.startswith('_')}{shown}".replace("$", r"\$")


def save(plot: Figure, path: Path) -> None:
    """Write a plot as PNG, whole or not at all."""
    with written_beside(path) as temporary:
        plot.savefig(temporary, dpi=110, format="png", pil_kwargs={"compress_level": 3})
