"""An ensemble as one network: the mean of its members' logits, for formats that hold a network and no list of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from segfocal.errors import UserError
from segfocal.inference import bundle as bundles
from segfocal.inference.bundle import Bundle
from segfocal.inference.ensemble import members_of
from segfocal.inference.predictor import check_alike


class MeanNetwork(nn.Module):
    """The mean logits [b,k,*window] of several networks.

    Args:
        members: of one target, which see images alike.
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, image: Tensor) -> Tensor:
        """Return the mean logits of images."""
        return torch.stack([member(image) for member in self.members]).mean(dim=0)


def load_one(folder: Path) -> Bundle:
    """Return a bundle; an ensemble as one of a `MeanNetwork`.

    Raises:
        UserError: as of loading; members that see images differently, or that answer prompts only.
    """
    members = [bundles.load(member) for member in members_of(folder)]
    if len(members) == 1:
        return members[0]
    check_alike(members)
    if members[0].needs_prompts:
        raise UserError(
            expected="one model to export, of those that answer prompts",
            found=f"an ensemble of {len(members)}",
            where=folder,
            do=f"give one of its members, as {members_of(folder)[0]}",
        )
    return replace(members[0], model=MeanNetwork([member.model for member in members]).eval())
