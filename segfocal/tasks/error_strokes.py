"""Corrections that are drawn: a scribble through a connected error, or a lasso around a false alarm."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from segfocal.prompts import (
    ABSENT,
    LASSO_DRAWS,
    SCRIBBLE_DRAWS,
    Prompt,
    component_at,
    lassos_around,
    scribbles_in,
)

DRAWS = 1 + SCRIBBLE_DRAWS + LASSO_DRAWS  # uniform numbers a prompt takes: which of them, and its shape


class ErrorStrokes(NamedTuple):
    """Strokes [n,2,h,w], or [n,2,d,h,w], in place of clicks, and the rows [n] that get one."""

    instead: Tensor
    scribbles: Tensor
    lassos: Tensor

    def added_to(self, prompt: Prompt) -> Prompt:
        """Return a prompt with these strokes, where there are any."""
        prompt = prompt.with_scribbles(self.scribbles) if self.scribbles.any() else prompt
        return prompt.with_lassos(self.lassos) if self.lassos.any() else prompt


def error_strokes(
    logits: Tensor, target: Tensor, click: tuple[Tensor, Tensor], uniforms: Tensor, *, shares: tuple[float, float]
) -> ErrorStrokes:
    """Return scribbles through, and lassos around, the connected errors that clicks lie on; computed on the CPU.

    Args:
        logits: [n,1,h,w], the answer.
        target: [n,1,h,w]; a lasso around a false alarm leaves it out.
        click: xy [n,2] and labels [n], as of `error_clicks`.
        uniforms: [n, DRAWS] in [0,1).
        shares: of the rows that get a scribble, and of those with a false alarm that get a lasso.
    """
    (xy, label), (scribbles, lassos) = click, shares
    kind, of_scribble, of_lasso = uniforms.split([1, SCRIBBLE_DRAWS, LASSO_DRAWS], dim=1)
    scribbled = (kind[:, 0] < scribbles) & (label != ABSENT)
    lassoed = (kind[:, 0] >= scribbles) & (kind[:, 0] < scribbles + lassos) & (label == 0)
    truth = target[:, 0] > 0.5
    each = (-1, *[1] * (truth.ndim - 1))  # a number of a prompt for all its pixels
    wrong = ((logits[:, 0] > 0) != truth) & (truth == (label == 1).view(each))
    error = component_at(wrong & (scribbled | lassoed).view(each), xy)
    lines = scribbles_in(error & scribbled.view(each), of_scribble)
    areas = lassos_around(error & lassoed.view(each), of_lasso) * ~truth
    sides = torch.stack([label == 1, label == 0], 1).unflatten(1, (2, *each[1:]))
    return ErrorStrokes(scribbled | lassoed, sides * lines[:, None], sides * areas[:, None])
