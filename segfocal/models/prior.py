"""Starting from the prior: a last layer whose first predictions equal the share of foreground.

With a target of 0.1 % of the pixels and first predictions of one half, the first steps only learn to answer "no"
everywhere. Here the last layer's bias starts at that answer. Its weights start small, so the bias decides at first.

Source: Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, section 4.1 (π = 0.01, weights of std 0.01);
under softmax the class log-frequencies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

Prior = float | Literal["auto"] | None
AUTO = "auto"
_SMALL = 0.01  # standard deviation of the last layer's weights


def check_prior(prior: Prior) -> None:
    """Raise ValueError unless a prior is None, "auto" (the training set's rate), or a rate inside (0,1)."""
    known = prior is None or prior == AUTO
    if not known and not (isinstance(prior, int | float) and not isinstance(prior, bool) and 0 < prior < 1):
        raise ValueError(f"expected model.prior in (0,1), auto or null; got {prior!r}")


def prior_logits(prior: Prior, rates: Sequence[float], link: str) -> Tensor:
    """Return the logits [k] at which every pixel is predicted with the prior.

    Args:
        prior: one rate in (0,1) for every structure, or "auto" for `rates`.
        rates: share of the training set's pixels of the background, then of each structure.
        link: of the loss: "softmax", or "sigmoid" for each structure by itself.

    Raises:
        ValueError: rates that sum to one or more, which leaves none to the background.
    """
    structures = torch.tensor(list(rates)[1:], dtype=torch.float64)
    if isinstance(prior, int | float):
        structures = torch.full_like(structures, prior)
    rest = 1 - structures.sum() if link == "softmax" else 1 - structures
    if (rest <= 0).any():
        raise ValueError(f"expected priors that sum to less than one; got {structures.tolist()}: set model.prior lower")
    return (structures / rest).log()


def set_last_layer(layer: nn.Linear | nn.Conv2d, bias: Tensor | None = None) -> None:
    """Make a layer's weights small and set its bias, to 0 without one."""
    with torch.no_grad():
        layer.weight.mul_(_SMALL / layer.weight.std().clamp(min=1e-12))
        if layer.bias is not None:
            layer.bias.copy_(torch.zeros_like(layer.bias) if bias is None else bias)
