"""Prompts of the rounds after the first: clicks on errors with the previous answer as mask, or that mask alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from segfocal.models import Answer
from segfocal.prompts import Prompt, error_clicks
from segfocal.tasks.first_prompt import check_word

_NAMED = {"last": 2, "random": 4}  # rounds known by a word, and the least number of rounds in which they exist


class Correction(NamedTuple):
    """One round after the first: its number of new clicks, and whether its prompt is the previous mask alone."""

    clicks: int
    mask_only: bool


@dataclass(frozen=True, kw_only=True)
class RoundPlan:
    """How the prompts of the rounds after the first are made.

    Each of them gets the previous answer's low-resolution logits as mask prompt, and new clicks where that answer is
    wrong.

    Args:
        clicks: new clicks in a round, each ≥ 1; of several numbers each round draws one, the same for all of a step.
            One by default, as SAM.
        click_at: "uniform", the default, draws from all wrong pixels; "largest" takes the middle of the largest
            connected error, found on the CPU.
        keep: whether the box and the earlier clicks stay, as in SAM, the default; False leaves the new clicks and the
            mask.
        mask_only: rounds that get the mask alone: numbers ≥ 2, "last", or "random" for one drawn in each step from the
            third to the last but one. Nothing is clicked in them, and earlier clicks return in the next. None by
            default.

    Raises:
        ValueError: no clicks, a number below 1, an unknown word.
    """

    clicks: Sequence[int] = (1,)
    click_at: Literal["uniform", "largest"] = "uniform"
    keep: bool = True
    mask_only: Sequence[int | str] = ()

    def __post_init__(self) -> None:
        for name in ("clicks", "mask_only"):
            given = getattr(self, name)
            object.__setattr__(self, name, (given,) if isinstance(given, int | str) else tuple(given))
        if not self.clicks or not all(_is_number(n) and n >= 1 for n in self.clicks):
            raise ValueError(f"expected task.plan.clicks to be numbers ≥ 1, as [1,3,5,9]; got {list(self.clicks)}")
        check_word("task.plan.click_at", self.click_at, "uniform", "largest")
        wrong = [n for n in self.mask_only if n not in _NAMED and not (_is_number(n) and int(n) >= 2)]
        if wrong:
            raise ValueError(f"expected task.plan.mask_only of numbers ≥ 2, last and random; got {wrong[0]!r}")

    def check(self, rounds: int) -> None:
        """Raise ValueError unless every round that the plan names is among `rounds`."""
        least = max([_NAMED[n] if isinstance(n, str) else n for n in self.mask_only], default=1)
        if rounds < least:
            named = list(self.mask_only)
            raise ValueError(f"expected task.rounds ≥ {least} for task.plan.mask_only={named}; got {rounds}")

    def corrections(self, rounds: int, draws: Sequence[float]) -> list[Correction]:
        """Return the rounds after the first, drawn by `rounds` uniform numbers."""
        numbers: dict[int | str, int] = {"last": rounds, "random": 3 + int(draws[0] * (rounds - 3))}
        alone = {numbers.get(n, n) for n in self.mask_only}
        clicks = [self.clicks[int(draw * len(self.clicks))] for draw in draws[1:rounds]]
        return [
            Correction(0, True) if number in alone else Correction(n, False) for number, n in enumerate(clicks, start=2)
        ]

    def corrected(
        self, prompt: Prompt, answer: Answer, target: Tensor, correction: Correction, draws: Tensor
    ) -> Prompt:
        """Return the prompt of the next round.

        Args:
            prompt: of this round.
            answer: to that prompt, its masks [n,1,h,w].
            target: [n,1,h,w].
            correction: the next round.
            draws: uniform numbers [n,c] with c ≥ correction.clicks.
        """
        with torch.no_grad():
            prompt = prompt.with_mask(answer.low_res_logits.detach().float())
            if not correction.clicks:
                return prompt
            xy, labels = error_clicks(answer.logits, target, draws[:, : correction.clicks], at=self.click_at)
            return prompt.with_clicks(xy, labels) if self.keep else prompt.only_clicks(xy, labels)


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
