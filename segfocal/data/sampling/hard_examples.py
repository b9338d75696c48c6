"""Hard-example replay: the last loss of every slice, and the odds by which slices are drawn again.

Source: the idea is that of Shrivastava et al., "Training Region-based Object Detectors with Online Hard Example
Mining", CVPR 2016; here hard slices are drawn more often, in proportion to their last loss, rather than easy ones left
out of the gradient, and slices not seen yet count as hard as the hardest, as in Schaul et al., "Prioritized Experience
Replay", ICLR 2016, section 3.3.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from segfocal.batch import Origin


class LastLosses:
    """Remembers losses by slice; `renew` turns them into the odds of `draw`, which stay the same until the next one.

    Odds that change only at fixed steps keep a sample a function of its key and of them, whatever loads it. Part of
    every checkpoint.

    cases: name and number of slices of each; their slices are numbered through.
    """

    def __init__(self, cases: Sequence[tuple[str, int]]) -> None:
        depths = [depth for _, depth in cases]
        self.starts = np.cumsum([0, *depths])
        self.slots = {name: (int(start), depth) for (name, depth), start in zip(cases, self.starts, strict=False)}
        self.last = np.full(int(self.starts[-1]), np.nan)
        self._set(np.ones(len(self.last)))

    def slot(self, origin: Origin) -> int:
        """Return the number of a sample's slice among those of all cases; -1 for an unknown one."""
        start, depth = self.slots.get(origin.case, (0, 0))
        index = origin.slice_index or 0
        return start + index if index < depth else -1

    def note(self, slots: Sequence[int] | NDArray[np.int64], losses: Sequence[float] | NDArray[np.float64]) -> None:
        """Keep the losses of slices; of one that comes twice the later counts."""
        for slot, loss in zip(slots, losses, strict=True):
            if slot >= 0:
                self.last[slot] = loss

    def renew(self) -> None:
        """Make the odds proportional to the last losses; where all are 0 or none is known, all slices are alike."""
        seen = np.isfinite(self.last)
        hardest = self.last[seen].max() if seen.any() else 1.0
        self._set(np.where(seen, self.last, hardest) if hardest > 0 else np.ones(len(self.last)))

    def _set(self, odds: NDArray[np.float64]) -> None:
        self.odds, self.sums = odds, np.cumsum(odds)

    def draw(self, rng: np.random.Generator) -> tuple[int, int]:
        """Draw a slice by the odds; return the number of its case, and its own within it."""
        found = np.searchsorted(self.sums, rng.random() * self.sums[-1], side="right")
        slot = min(int(found), len(self.sums) - 1)
        case = int(np.searchsorted(self.starts, slot, side="right")) - 1
        return case, slot - int(self.starts[case])

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint holds."""
        return {"last": torch.from_numpy(self.last.copy()), "odds": torch.from_numpy(self.odds.copy())}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what a checkpoint held; ValueError for one of other cases."""
        if len(state["last"]) != len(self.last):
            raise ValueError(f"expected the last losses of {len(self.last)} slices; got {len(state['last'])}")
        self.last = state["last"].numpy().copy()
        self._set(state["odds"].numpy().copy())


def blocks(first: int, last: int, every: int) -> Iterator[tuple[int, int]]:
    """Yield the spans of steps from `first` to before `last` that end where a multiple of `every` begins."""
    if first < last:
        yield from pairwise(chain([first], range((first // every + 1) * every, last, every), [last]))
