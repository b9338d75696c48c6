"""How the minutes are shared out: reading, a race of recipes, the folds of the winner, what comes after."""

from __future__ import annotations

import math
from dataclasses import dataclass

from segfocal.errors import UserError

_RACE = 0.3  # share of the time after reading that the race may take
_SPARE = 0.04  # share that is kept for what takes longer than it seemed
LEAST_SECONDS = 20.0  # of training a recipe in a race; less says nothing
_LEAST_FOLD = 30.0  # seconds of training a fold


@dataclass(frozen=True, kw_only=True)
class RacePlan:
    """A race in two rounds: all recipes, then the better half for twice as long on another fold.

    Args:
        recipes: how many run; 1 is no race.
        seconds: of training in the first round, twice that in the second.
    """

    recipes: int
    seconds: float

    @property
    def runs(self) -> int:
        """Units of `seconds` in both rounds."""
        return self.recipes + 2 * survivors(self.recipes) if self.recipes > 1 else 0


def survivors(recipes: int) -> int:
    """Return how many recipes go into the second round."""
    return max(1, math.ceil(recipes / 2)) if recipes > 2 else min(recipes, 2)


def plan_race(left: float, *, recipes: int, folds: int, overhead: float) -> RacePlan:
    """Return how a race fits into its share of the time that is left; fewer recipes where it is short.

    Args:
        left: seconds until the end.
        recipes: that could run.
        folds: that are trained afterwards.
        overhead: seconds that a run takes besides training.
    """
    spare = left - folds * (_LEAST_FOLD + overhead)
    for count in range(recipes, 1, -1):
        whole = RacePlan(recipes=count, seconds=0.0).runs
        starts = count + survivors(count)
        seconds = (min(_RACE * left, spare) - starts * overhead) / whole
        if seconds >= LEAST_SECONDS:
            return RacePlan(recipes=count, seconds=seconds)
    return RacePlan(recipes=1, seconds=0.0)


def seconds_a_fold(left: float, *, folds: int, overhead: float, afterwards: float) -> float:
    """Return the seconds of training of each fold in what is left.

    Args:
        left: seconds until the end.
        folds: how many.
        overhead: seconds that a run takes besides training.
        afterwards: seconds from the last fold to the end: choosing thresholds, masks, the page.

    Raises:
        UserError: too little is left for a fold to learn anything.
    """
    seconds = (left * (1 - _SPARE) - afterwards) / folds - overhead
    if seconds < _LEAST_FOLD:
        missing = math.ceil(folds * (_LEAST_FOLD - seconds) / 60 / (1 - _SPARE))
        raise UserError(
            expected=f"at least {_LEAST_FOLD:.0f} s of training for each of {folds} fold{'s' * (folds > 1)}",
            found=f"{max(0.0, seconds):.0f} s: {folds} × {overhead:.0f} s go into preparing and validating",
            do=f"give {missing} more minute{'s' * (missing > 1)}, or fewer data.folds",
        )
    return seconds
