"""A number that follows training: constant, linear between knots, or in steps.

gamma: 2.0                               constant
gamma: {linear: {0: 0.0, 0.5: 2.0}}      from 0 to 2 over the first half of training, then 2 ("soft gamma")
gamma: {steps: {0: 0.0, 0.3: 1.0}}       0, and 1 from 30 % of training on
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from torch import nn

NumberOrSchedule = float | Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A function of training progress in [0,1], by knots (progress, value) in order; shape: "linear" or "steps"."""

    shape: str
    knots: tuple[tuple[float, float], ...]

    def __call__(self, progress: float) -> float:
        """Return the value at `progress`: before the first knot and after the last, theirs."""
        after = bisect_right([place for place, _ in self.knots], progress)
        if after == 0 or after == len(self.knots) or self.shape == "steps":
            return self.knots[max(after - 1, 0)][1]
        (start, first), (end, last) = self.knots[after - 1], self.knots[after]
        return first + (last - first) * (progress - start) / (end - start)


def read_schedule(value: Mapping[str, Any], name: str) -> Schedule:
    """Return the schedule that a mapping {linear or steps: {progress: value, …}} describes.

    Raises:
        ValueError: another shape, no knots, progress outside [0,1] or not ascending, values that are no numbers.
    """
    shape, knots = next(iter(value.items())) if len(value) == 1 else ("", {})
    shown = dict(value)
    if shape not in ("linear", "steps") or not isinstance(knots, Mapping) or not knots:
        raise ValueError(
            f"expected {name} to be a number, {{linear: {{0: …, 1: …}}}} or {{steps: {{0: …, 0.5: …}}}}; got {shown}"
        )
    try:
        pairs = tuple((float(place), float(number)) for place, number in knots.items())
    except (TypeError, ValueError) as error:
        raise ValueError(f"expected numbers in the schedule of {name}; got {shown}") from error
    ascending = all(earlier < later for (earlier, _), (later, _) in pairwise(pairs))
    if not ascending or pairs[0][0] < 0 or pairs[-1][0] > 1:
        raise ValueError(f"expected ascending shares of training in [0,1] in the schedule of {name}; got {shown}")
    return Schedule(shape=shape, knots=pairs)


class FollowsTraining(nn.Module):
    """A module some of whose numbers may follow training: `schedules` holds the schedule of each by its name."""

    def __init__(self) -> None:
        super().__init__()
        self.schedules: dict[str, Schedule] = {}

    def follow(self, name: str, value: NumberOrSchedule, check: Callable[[float], None]) -> float:
        """Keep the schedule of an option, if it is given one; return the value to start with, checked.

        Args:
            name: the option, an attribute of this module.
            value: a number, or a mapping that `read_schedule` takes.
            check: raises ValueError for a number that the option cannot have.

        Raises:
            ValueError: whatever `check` raises about a value that the schedule reaches, and a schedule not understood.
        """
        if not isinstance(value, Mapping):
            check(value)
            return float(value)
        schedule = read_schedule(value, name)
        for _, number in schedule.knots:
            check(number)
        self.schedules[name] = schedule
        return schedule(0.0)

    def at(self, progress: float) -> dict[str, float]:
        """Set every number that follows training to its value at `progress` in [0,1]; return them by name."""
        values = {name: schedule(progress) for name, schedule in self.schedules.items()}
        for name, value in values.items():
            self.set_followed(name, value)
        return values

    def set_followed(self, name: str, value: float) -> None:
        """Take over the present value of option `name`."""
        setattr(self, name, value)
