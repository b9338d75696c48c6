"""Plots show names from the data as they are."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from segfocal.report.plots import (
    as_text,
    draw_clicks,
    draw_foreground,
    draw_froc,
    draw_loss_anatomy,
    draw_scores,
    draw_strips,
)
from segfocal.report.sample_picture import SamplePair, draw_samples

HOSTILE = r"case $\frac{$ and $x_{1$"


def test_a_dollar_sign_is_a_dollar_sign():
    def pixels(text, **options):
        plot = Figure(figsize=(3, 1))
        canvas = FigureCanvasAgg(plot)
        plot.text(0, 0.5, text, **options)
        canvas.draw()
        return np.asarray(canvas.buffer_rgba())

    assert (pixels(as_text("a $x^2$ b")) == pixels("a $x^2$ b", parse_math=False)).all()
    assert (pixels(as_text("a $x^2$ b")) != pixels("a $x^2$ b")).any()


@pytest.mark.parametrize("name", [HOSTILE, "$", "$$", r"\$a$"])
def test_no_name_ends_a_plot(name, tmp_path):
    curve = {name: ([0, 1, 2], [0.1, 0.5, 0.6])}
    draw_scores(tmp_path / "scores.png", curve)
    draw_loss_anatomy(tmp_path / "anatomy.png", curve, curve, curve)
    draw_clicks(tmp_path / "clicks.png", curve, boxes={}, unprompted={})
    draw_strips(tmp_path / "strips.png", {name: [0.1, 0.5]}, xlabel="Dice")
    draw_foreground(tmp_path / "foreground.png", {name: (0.1, 0.5)})
    draw_froc(tmp_path / "froc.png", {name: ([0.125, 1, 8], [0.1, 0.5, 0.6])})
    image, target = np.zeros((8, 8)), np.zeros((1, 8, 8))
    pair = SamplePair(image=image, target=target, augmented_image=image, augmented_target=target, title=name)
    draw_samples(tmp_path / "samples.png", [pair], names=[name], columns=1, aspect=1.0, heading=name)
    assert len(list(tmp_path.glob("*.png"))) == 7


def test_a_name_in_a_plot_is_one_line_of_bounded_length():
    assert as_text("a\nb") == "a\\nb"
    assert len(as_text("x" * 5000)) == 80
    assert "…" in as_text("x" * 5000)
    assert as_text("liver") == "liver"


def test_a_name_with_an_underscore_before_it_is_in_the_legend():
    assert not as_text("_lesion").startswith("_")  # matplotlib's legends leave such out
