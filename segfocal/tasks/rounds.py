"""Prompts of the rounds after the first: clicks or strokes on errors with the previous answer, or that answer alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from segfocal.models import Answer
from segfocal.prompts import ABSENT, Prompt, error_clicks
from segfocal.tasks.error_strokes import DRAWS, error_strokes
from segfocal.tasks.first_prompt import check_word

_PARTS = ("box", "clicks", "strokes", "mask")  # that a round may drop
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
        scribbles: share of the corrections, in [0,1], in which a line through the connected error under the first click
            comes in place of the clicks.
        lassos: share of the corrections, in [0,1], in which a false alarm is lassoed instead.
        drop: share of the prompts, in [0,1], from which a round leaves out the box, the earlier clicks, the strokes, or
            the mask, each by itself and for this round only; so a model learns to do without any of them.

    Strokes are computed on the CPU.

    Raises:
        ValueError: no clicks, a number out of its range, an unknown word.
    """

    STROKE_DRAWS = DRAWS + len(_PARTS)  # uniform numbers that a round takes for these

    clicks: Sequence[int] = (1,)
    click_at: Literal["uniform", "largest"] = "uniform"
    keep: bool = True
    mask_only: Sequence[int | str] = ()
    scribbles: float = 0.0
    lassos: float = 0.0
    drop: float = 0.0

    def __post_init__(self) -> None:
        for name in ("clicks", "mask_only"):
            given = getattr(self, name)
            object.__setattr__(self, name, (given,) if isinstance(given, int | str) else tuple(given))
        if not self.clicks or not all(_is_number(n) and n >= 1 for n in self.clicks):
            raise ValueError(f"expected task.plan.clicks to be numbers ≥ 1, as [1,3,5,9]; got {list(self.clicks)}")
        check_word("task.plan.click_at", self.click_at, "uniform", "largest")
        for name in ("scribbles", "lassos", "drop"):
            if not isinstance(getattr(self, name), int | float) or not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"expected task.plan.{name} from 0 to 1; got {getattr(self, name)!r}")
        if self.scribbles + self.lassos > 1:
            raise ValueError(
                f"expected task.plan.scribbles + task.plan.lassos ≤ 1; got {self.scribbles} and {self.lassos}"
            )
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

    @property
    def draws_strokes(self) -> bool:
        """Whether rounds need the uniform numbers of strokes."""
        return bool(self.scribbles or self.lassos or self.drop)

    def corrected(
        self,
        prompt: Prompt,
        answer: Answer,
        target: Tensor,
        correction: Correction,
        draws: Tensor,
        strokes: Tensor | None = None,
    ) -> Prompt:
        """Return the prompt of the next round, from which `shown` leaves out what that round drops.

        Args:
            prompt: of this round.
            answer: to that prompt, its masks [n,1,h,w].
            target: [n,1,h,w].
            correction: the next round.
            draws: uniform numbers [n,c] with c ≥ correction.clicks.
            strokes: uniform numbers [n, STROKE_DRAWS], needed where `draws_strokes`.
        """
        with torch.no_grad():
            prompt = prompt.with_mask(answer.low_res_logits.detach().float())
            if not correction.clicks:
                return prompt
            xy, labels = error_clicks(answer.logits, target, draws[:, : correction.clicks], at=self.click_at)
            drawn = None
            if strokes is not None and (self.scribbles or self.lassos):
                shares, first = (self.scribbles, self.lassos), (xy[:, 0], labels[:, 0])
                drawn = error_strokes(answer.logits, target, first, strokes[:, : -len(_PARTS)], shares=shares)
                labels = torch.where(drawn.instead[:, None], ABSENT, labels)
            prompt = prompt.with_clicks(xy, labels) if self.keep else prompt.only_clicks(xy, labels)
            return prompt if drawn is None else drawn.added_to(prompt)

    def shown(self, prompt: Prompt, strokes: Tensor | None, *, new_clicks: int) -> Prompt:
        """Return what a round shows of a prompt whose last `new_clicks` clicks are its own; see `drop`."""
        if strokes is None or not self.drop:
            return prompt
        dropped = dict(zip(_PARTS, (strokes[:, -len(_PARTS) :] < self.drop).unbind(1), strict=True))
        earlier = torch.arange(prompt.point_labels.shape[1], device=strokes.device)
        earlier = earlier < prompt.point_labels.shape[1] - new_clicks
        labels = torch.where(dropped["clicks"][:, None] & earlier, ABSENT, prompt.point_labels)
        drawn = (prompt.point_labels[:, prompt.point_labels.shape[1] - new_clicks :] == ABSENT).all(
            1
        )  # or nothing is new
        kept = (~dropped["strokes"] | drawn).unflatten(0, (-1, *[1] * (1 + prompt.axes)))
        return replace(
            prompt,
            point_labels=labels,
            boxes_xyxy=torch.where(dropped["box"][:, None], torch.nan, prompt.boxes_xyxy),
            has_mask=prompt.has_mask & ~dropped["mask"],
            scribbles=None if prompt.scribbles is None else prompt.scribbles * kept,
            lassos=None if prompt.lassos is None else prompt.lassos * kept,
        )


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
