"""From masks and one logit a structure to what a softmax loss takes.

The link is the function that makes probabilities of logits: the sigmoid, for structures that are decided on one by one,
or the softmax, for classes that exclude each other. (The word is that of generalised linear models.)

A network has one logit for each structure, whatever the link. Under softmax the background's logit is fixed at 0: only
differences of logits matter there, so nothing is lost, and inference has one rule for both links: a pixel belongs to
the structure with the largest logit if that is above 0, to the background otherwise.
"""

from __future__ import annotations

import torch
from torch import Tensor


def with_background(logits: Tensor) -> Tensor:
    """Return logits [b,k,*space] with a first class of zeros, [b,1+k,*space]."""
    return torch.cat([torch.zeros_like(logits[:, :1]), logits], dim=1)


def margins(logits: Tensor) -> Tensor:
    """Return the margin of each structure under softmax, in float64, of logits [b,k,*space].

    A margin is the log-odds of a structure against all other classes together: x_k − log(1 + Σ_{j≠k} exp x_j), the 1
    for the background. Its sigmoid is the structure's softmax probability, so it may be treated as a sigmoid logit.
    """
    log_p = with_background(logits).double().log_softmax(1)[:, 1:]
    return log_p - torch.expm1(log_p).neg().clamp(min=1e-300).log()


def class_indices(masks: Tensor) -> Tensor:
    """Return masks [b,k,*space] as class indices [b,*space]: 0 in no mask, the last where a pixel is in several.

    A soft mask counts from 0.5 on.
    """
    inside = masks >= 0.5 if masks.is_floating_point() else masks != 0
    dtype = torch.uint8 if masks.shape[1] < 256 else torch.int64
    numbers = torch.arange(1, masks.shape[1] + 1, dtype=dtype, device=masks.device)
    return (inside * numbers.reshape(-1, *[1] * (masks.ndim - 2))).amax(1)
