"""Starting from the prior: a last layer whose first predictions are about the share of foreground.

With a target of 0.1 % of the pixels and first predictions of one half, the first steps only learn to answer "no"
everywhere. Here the last layer's bias starts at that answer, and its weights stay as they were drawn: logits then
spread by about one around the prior. The paper's weights, of standard deviation 0.01 behind 256 channels of 3×3,
spread them about half as far; as small ones behind our 16 or 128 channels hardly would, and learnt more slowly.

Source: Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, section 4.1 (π = 0.01); under softmax the class
log-frequencies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

Prior = float | Literal["auto"] | None
AUTO = "auto"
_LEAST = 1e-6  # a rate that the data give is no nearer to 0 or 1


def check_prior(prior: Prior) -> None:
    """Raise ValueError unless a prior is None, "auto" (the training set's rate), or a rate inside (0,1)."""
    known = prior is None or prior == AUTO
    if not known and not (isinstance(prior, int | float) and not isinstance(prior, bool) and 0 < prior < 1):
        raise ValueError(f"expected model.prior in (0,1), auto or null; got {prior!r}")


def prior_logits(prior: Prior, rates: Sequence[float], link: str) -> Tensor:
    """Return the logits [k] at which every pixel is predicted with the prior.

    Args:
        prior: one rate in (0,1) for every structure, or "auto" for `rates`, which are kept off 0 and 1.
        rates: share of the training set's pixels of the background, then of each structure.
        link: of the loss: "softmax", or "sigmoid" for each structure by itself.

    Raises:
        ValueError: a prior that leaves nothing to the background under softmax.
    """
    structures = torch.tensor(list(rates)[1:], dtype=torch.float64).clamp(_LEAST, 1 - _LEAST)
    if isinstance(prior, int | float):
        structures = torch.full_like(structures, prior)
    rest = 1 - structures.sum() if link == "softmax" else 1 - structures
    if prior == AUTO:
        rest = rest.clamp(min=_LEAST)
    if (rest <= 0).any():
        raise ValueError(f"expected priors that sum to less than one; got {structures.tolist()}: set model.prior lower")
    return (structures / rest).log()
