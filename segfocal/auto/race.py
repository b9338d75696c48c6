"""The race of recipes: each trains for the same time, the better half once more for twice as long, the best wins.

Successive halving: Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization",
AISTATS 2016. The second round has another fold and twice the time; of recipes within TIE the simplest wins.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from segfocal.auto.recipes import Recipe
from segfocal.auto.time_plan import RacePlan, survivors

TIE = 0.01  # of Dice


@dataclass(frozen=True, kw_only=True)
class Heat:
    """One run of a race.

    Args:
        recipe: its name.
        fold: which cases were held out.
        minutes: of training.
        dice: mean over held-out cases and structures.
        steps: that fitted.
        overhead: seconds besides training.
    """

    recipe: str
    fold: int
    minutes: float
    dice: float
    steps: int
    overhead: float

    @property
    def key(self) -> str:
        """What it is known by, when a race is gone on with."""
        return heat_key(self.recipe, self.fold, self.minutes)

    def row(self) -> dict[str, Any]:
        """Return the fields."""
        return asdict(self)


def heat_key(recipe: str, fold: int, minutes: float) -> str:
    """Return what a run of a race is known by."""
    return f"{recipe} fold {fold} {minutes:.3f} min"


def race(
    recipes: Sequence[Recipe], plan: RacePlan, *, folds: int, run: Callable[[Recipe, int, float], Heat]
) -> tuple[Recipe, list[Heat]]:
    """Return the winner and every run; a single recipe wins without one.

    Args:
        recipes: the simplest first, of which the first `plan.recipes` run.
        plan: how many, and how long.
        folds: of the data; the second round holds out the second one.
        run: trains a recipe without a fold for some minutes, or remembers that it did.
    """
    running = list(recipes[: plan.recipes])
    if len(running) < 2:
        return running[0], []
    first = {recipe.name: run(recipe, 0, plan.seconds / 60) for recipe in running}
    running = _best(running, {name: [heat] for name, heat in first.items()})[: survivors(len(running))]
    second = {recipe.name: run(recipe, 1 % folds, 2 * plan.seconds / 60) for recipe in running}
    both = {name: [first[name], heat] for name, heat in second.items()}
    winner = _winner(sorted(running, key=recipes.index), both)
    return winner, [*first.values(), *second.values()]


def _best(recipes: Sequence[Recipe], heats: dict[str, list[Heat]]) -> list[Recipe]:
    """Return recipes by their mean Dice, the best first; of equal ones the simplest."""
    return sorted(recipes, key=lambda recipe: -_dice(heats[recipe.name]))


def _winner(recipes: Sequence[Recipe], heats: dict[str, list[Heat]]) -> Recipe:
    """Return the simplest recipe within TIE of the best."""
    best = max(_dice(heats[recipe.name]) for recipe in recipes)
    return next(recipe for recipe in recipes if _dice(heats[recipe.name]) >= best - TIE)


def _dice(heats: Sequence[Heat]) -> float:
    return fmean(heat.dice for heat in heats)
