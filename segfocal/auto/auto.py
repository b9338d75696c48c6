"""The walk from a folder to a model: read → recipes → race → folds of the winner → page; every station kept on disk."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from segfocal.auto.race import Heat, heat_key, race
from segfocal.auto.recipes import Recipe
from segfocal.auto.time_plan import RacePlan, plan_race, seconds_a_fold
from segfocal.cross_validate.results import Outcome
from segfocal.errors import UserError
from segfocal.files import make_folder, read_json, write_json

STATE = "auto.json"
_LEAST_OVERHEAD = 4.0  # seconds that a run is taken to need besides training, before one was seen
_BEAT = 5.0  # seconds between notes of the time spent: a kill loses no more of it


class Workshop(Protocol):
    """Where recipes become runs: the command builds one, which composes configs; a test builds a quick one."""

    @property
    def folds(self) -> int:
        """How many folds the data have."""

    def recipes(self) -> list[Recipe]:
        """Return what to try, the simplest first."""

    def heat(self, recipe: Recipe, fold: int, minutes: float, folder: Path) -> Heat:
        """Train a recipe without a fold for some minutes, and judge it by that fold.

        Args:
            recipe: what to train.
            fold: which is held out.
            minutes: of training.
            folder: of the run.
        """

    def cross_validate(self, recipe: Recipe, minutes: float, folder: Path) -> Outcome:
        """Train a recipe for some minutes a fold, judge out of fold, leave an ensemble in `folder`/bundle."""


@dataclass(frozen=True)
class State:
    """How far an auto run has come, as `auto.json` keeps it: a killed one takes the same decisions again.

    Args:
        asked: the minutes and options it was begun with.
        seconds: spent so far.
        reading: of these, what examining and measuring the data took.
        race: the plan of the race, once made.
        heats: the runs of the race, by their key.
        winner: the recipe that won.
        fold_seconds: of training a fold, once decided.
    """

    asked: dict[str, Any]
    seconds: float = 0.0
    reading: float | None = None
    race: dict[str, Any] | None = None
    heats: dict[str, dict[str, Any]] = field(default_factory=dict)
    winner: str | None = None
    fold_seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class AutoResult:
    """What came of it.

    Args:
        winner: the recipe.
        recipes: all that could run.
        heats: of the race; empty where there was none.
        outcome: of the cross-validation.
        seconds: spent, from start to end.
        fold_seconds: of training a fold.
    """

    winner: Recipe
    recipes: Sequence[Recipe]
    heats: Sequence[Heat]
    outcome: Outcome
    seconds: float
    fold_seconds: float


class Auto:
    """A run of so many minutes in a folder, or what is left of it.

    Args:
        workshop: makes recipes and runs.
        minutes: for everything, > 0.
        folder: for everything.
        asked: what was typed, to notice when the same folder is used for something else.
        began: when the command did, of time.monotonic(); reading the data has taken time already. None for now.
        say: prints a line.
    """

    def __init__(
        self,
        workshop: Workshop,
        *,
        minutes: float,
        folder: Path,
        asked: Mapping[str, Any],
        began: float | None = None,
        say: Callable[[str], None] = print,
    ) -> None:
        self.workshop, self.minutes, self.folder, self.say = workshop, minutes, folder, say
        make_folder(folder)
        self.state = _state(folder, {"minutes": minutes, **asked})
        self.began = (time.monotonic() if began is None else began) - self.state.seconds
        self._saving = threading.Lock()

    def run(self) -> AutoResult:
        """Do everything, and return what came of it.

        Raises:
            UserError: minutes too few for the folds, and whatever training raises.
        """
        with self._time_noted():
            return self._run()

    def _run(self) -> AutoResult:
        if self.state.reading is None:
            self._save(reading=time.monotonic() - self.began)
        recipes, folds = self.workshop.recipes(), self.workshop.folds
        plan = self._race_plan(len(recipes), folds)
        self._announce(recipes, plan, folds)
        winner, heats = race(recipes, plan, folds=folds, run=self._heat)
        self._save(winner=winner.name)
        seconds = self._fold_seconds(heats, winner, folds)
        runs = f"{folds} folds of {_words(seconds)} each" if folds > 1 else f"{_words(seconds)} of training"
        self.say(f"{winner.name}: {runs}; {_words(self.left)} left")
        outcome = self.workshop.cross_validate(winner, seconds / 60, self.folder)
        self._save()
        return AutoResult(
            winner=winner,
            recipes=recipes,
            heats=heats,
            outcome=outcome,
            seconds=time.monotonic() - self.began,
            fold_seconds=seconds,
        )

    @property
    def left(self) -> float:
        """Seconds until the minutes are over."""
        return 60 * self.minutes - (time.monotonic() - self.began)

    def _race_plan(self, recipes: int, folds: int) -> RacePlan:
        if self.state.race is None:
            overhead = self._overhead(folds)
            plan = plan_race(self.left, recipes=recipes, folds=folds, overhead=overhead)
            if plan.recipes < 2:
                seconds_a_fold(self.left, folds=folds, overhead=overhead, afterwards=overhead)  # or there is no use
            self._save(race={"recipes": plan.recipes, "seconds": plan.seconds})
        assert self.state.race is not None
        return RacePlan(**self.state.race)

    def _announce(self, recipes: Sequence[Recipe], plan: RacePlan, folds: int) -> None:
        self.say(f"{self.minutes:g} minutes, {_words(self.left)} left:")
        if plan.recipes > 1:
            self.say(f"  a race of {plan.recipes} recipes, {_words(plan.seconds)} each, the better half once more")
        for recipe in recipes[: plan.recipes]:
            self.say(f"    {recipe.name}: {recipe.why}")
        if folds > 1:
            self.say(f"  then {folds} folds of the winner in what is left, judged out of fold")
        else:
            self.say("  which trains on the one case in what is left")

    def _heat(self, recipe: Recipe, fold: int, minutes: float) -> Heat:
        key = heat_key(recipe.name, fold, minutes)
        known = self.state.heats.get(key)
        if known is None:
            heat = self.workshop.heat(recipe, fold, minutes, self.folder / "race" / key.replace(" ", "_"))
            known = heat.row()
            self._save(heats={**self.state.heats, key: known})
        heat = Heat(**known)
        self.say(
            f"{heat.recipe}, fold {fold}, {_words(60 * minutes)}: Dice {heat.dice:.3f} after {heat.steps} steps; "
            f"{_words(self.left)} left"
        )
        return heat

    def _overhead(self, folds: int) -> float:
        """Return the seconds that a run is taken to need besides training, before one was seen.

        With what comes after the folds this makes 2.5 times the reading; measured on three CTs: 2.3 times.
        """
        return max(_LEAST_OVERHEAD, (self.state.reading or 0.0) / folds)

    def _fold_seconds(self, heats: Sequence[Heat], winner: Recipe, folds: int) -> float:
        """Return the seconds of training of each fold, decided once."""
        if self.state.fold_seconds is None:
            seen = [heat.overhead for heat in heats if heat.recipe == winner.name]
            overhead = min(
                seen, default=self._overhead(folds)
            )  # the longest also prepared scans, which are prepared now
            afterwards = 1.5 * overhead * folds  # thresholds, rules, masks, metrics: three passes over every case
            seconds = seconds_a_fold(self.left, folds=folds, overhead=overhead, afterwards=afterwards)
            self._save(fold_seconds=seconds)
        assert self.state.fold_seconds is not None
        return self.state.fold_seconds

    @contextmanager
    def _time_noted(self) -> Iterator[None]:
        """Keep the seconds spent on disk meanwhile, so that a killed run knows them."""
        over = threading.Event()

        def beat() -> None:
            while not over.wait(_BEAT):
                self._save()

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _save(self, **decided: Any) -> None:
        """Keep the seconds spent, and what was decided."""
        with self._saving:
            self.state = replace(self.state, seconds=time.monotonic() - self.began, **decided)
            write_json(self.folder / STATE, self.state.__dict__)


def _state(folder: Path, asked: dict[str, Any]) -> State:
    """Return how far a run in a folder has come; UserError for a folder of other options."""
    file = folder / STATE
    if not file.is_file():
        return State(asked=asked)
    known = read_json(file)
    if not isinstance(known, dict) or known.get("asked") != asked:
        was = known.get("asked") if isinstance(known, dict) else known
        raise UserError(
            expected="the options with which this folder was begun, to go on",
            found=f"other ones: {_difference(was, asked)}",
            where=file,
            do="give those options again, or another output",
        )
    return State(**known)


def _difference(was: Any, now: Mapping[str, Any]) -> str:
    if not isinstance(was, dict):
        return "a damaged file"
    keys = [key for key in {**was, **now} if was.get(key) != now.get(key)]
    return ", ".join(f"{key} {was.get(key)} then, {now.get(key)} now" for key in keys[:3])


def _words(seconds: float) -> str:
    seconds = max(0.0, seconds)
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.1f} min"
