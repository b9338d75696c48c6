"""Windows in which nothing is to be seen, as of air beside a body: a network answers them once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Values = tuple[float, ...]


class ConstantWindows:
    """Asks a network about windows, but only once about those whose channels hold one value each.

    A quarter of a CT's windows may show nothing but air, where the field of view is wider than the body.

    Args:
        ask: makes logits [b,k,*window] of windows [b,c,*window]; the same of the same window each time.
    """

    def __init__(self, ask: Callable[[Tensor], Tensor]) -> None:
        self.ask = ask
        self.kept: dict[Values, Tensor] = {}

    def answers(self, windows: Tensor) -> Sequence[Tensor]:
        """Return the logits [k,*window] of each of the windows [b,c,*window].

        Windows on a GPU are not looked at, as that would wait for it.
        """
        values = _values(windows) if windows.device.type == "cpu" else [None] * len(windows)
        asked = [i for i, own in enumerate(values) if own is None or not (own in self.kept or own in values[:i])]
        if len(asked) == len(values):
            return self._remembered(values, list(self.ask(windows)))
        found = dict(zip(asked, self.ask(windows[asked]), strict=True)) if asked else {}
        known = self.kept | {own: found[i] for i in asked if (own := values[i]) is not None}
        every = [found[i] if own is None else known[own] for i, own in enumerate(values)]
        return self._remembered(values, every)

    def _remembered(self, values: Sequence[Values | None], answers: Sequence[Tensor]) -> Sequence[Tensor]:
        """Return answers; keep the last one of a constant window, a copy, as it must not keep its batch in memory.

        One is enough for the air around a body, and an answer of many classes in 3-D is large.
        """
        for own, answer in zip(reversed(values), reversed(answers), strict=True):
            if own is not None:
                if own not in self.kept:
                    self.kept = {own: answer.clone()}
                break
        return answers


def _values(windows: Tensor) -> list[Values | None]:
    """Return for each window [c,*window] the value of each channel, None unless all channels are constant."""
    rows = windows.flatten(2)
    lowest, highest = torch.aminmax(rows, dim=2)
    constant = (lowest == highest).all(dim=1).tolist()
    return [tuple(row) if same else None for row, same in zip(lowest.tolist(), constant, strict=True)]
