"""An auto run keeps every decision: killed anywhere and begun again it ends with the same choice."""

import json
import time
from dataclasses import replace

import pytest

from segfocal.auto.auto import STATE, Auto
from segfocal.auto.race import Heat
from segfocal.auto.recipes import Recipe
from segfocal.cross_validate.results import Outcome
from segfocal.errors import UserError

DICE = {"a": 0.2, "b": 0.7, "c": 0.5, "d": 0.3}


class Quick:
    """A workshop whose runs take no time, and that is killed after so many of them."""

    folds = 3

    def __init__(self, *, dies_after=None):
        self.ran, self.dies_after = [], dies_after

    def recipes(self):
        return [Recipe(name=name, options={}, why=f"recipe {name}") for name in DICE]

    def heat(self, recipe, fold, minutes, folder):
        self._count(f"{recipe.name} {fold}")
        return Heat(recipe=recipe.name, fold=fold, minutes=minutes, dice=DICE[recipe.name], steps=5, overhead=2.0)

    def cross_validate(self, recipe, minutes, folder):
        self._count(f"folds of {recipe.name} {minutes:.6f}")
        return Outcome(judged=[], dice=0.9, facts={"folds": 3})

    def _count(self, what):
        if self.dies_after == len(self.ran):
            raise KeyboardInterrupt
        self.ran.append(what)


def auto(workshop, folder, *, minutes=60, asked=None, say=lambda line: None):
    return Auto(workshop, minutes=minutes, folder=folder, asked=asked or {"options": []}, say=say).run()


def test_the_best_recipe_is_trained_on_all_folds(tmp_path):
    workshop = Quick()
    result = auto(workshop, tmp_path)
    assert result.winner.name == "b"
    assert workshop.ran[:6] == ["a 0", "b 0", "c 0", "d 0", "b 1", "c 1"]
    assert result.outcome.dice == 0.9
    assert 3 * result.fold_seconds < 3600


@pytest.mark.parametrize("kill", range(7))
def test_killed_anywhere_it_goes_on_with_the_same_decisions(kill, tmp_path):
    whole = Quick()
    auto(whole, tmp_path / "whole")
    first, second = Quick(dies_after=kill), Quick()
    with pytest.raises(KeyboardInterrupt):
        auto(first, tmp_path / "cut")
    auto(second, tmp_path / "cut")
    ran = whole.ran, first.ran + second.ran
    races = [[run for run in runs if not run.startswith("folds")] for runs in ran]
    assert races[0] == races[1]
    states = [json.loads((tmp_path / name / STATE).read_text()) for name in ("whole", "cut")]
    assert states[0]["winner"] == states[1]["winner"] == "b"
    assert states[1]["fold_seconds"] == pytest.approx(states[0]["fold_seconds"], rel=1e-2)


def test_the_time_of_each_fold_is_decided_once(tmp_path):
    first, second = Quick(), Quick()
    assert auto(first, tmp_path).fold_seconds == auto(second, tmp_path).fold_seconds
    assert second.ran == [first.ran[-1]]


@pytest.mark.parametrize(
    ("reading", "folds_get"), [(0.0, (360 * 0.96 - 18) / 3 - 4), (60.0, (300 * 0.96 - 90) / 3 - 20)]
)
def test_where_no_race_was_run_the_folds_leave_time_in_proportion_to_the_reading(reading, folds_get, tmp_path):
    class Single(Quick):
        def recipes(self):
            return super().recipes()[:1]

    began = time.monotonic() - reading
    run = Auto(Single(), minutes=6, folder=tmp_path, asked={}, began=began, say=lambda line: None)
    assert run.run().fold_seconds == pytest.approx(folds_get, abs=1)


def test_what_preparing_took_in_the_race_is_not_set_aside_for_the_folds_again(tmp_path):
    class Preparing(Quick):
        def heat(self, recipe, fold, minutes, folder):
            heat = super().heat(recipe, fold, minutes, folder)
            return replace(heat, overhead=102.0) if fold == 0 else heat

    assert auto(Preparing(), tmp_path / "a").fold_seconds == pytest.approx(
        auto(Quick(), tmp_path / "b").fold_seconds, abs=2
    )


def test_another_target_in_the_same_folder_is_one_line(tmp_path):
    auto(Quick(), tmp_path, asked={"options": ["target=liver"]})
    with pytest.raises(UserError, match="another output") as error:
        auto(Quick(), tmp_path, asked={"options": ["target=spleen"]})
    assert "target=liver" in str(error.value)


def test_the_plan_is_said_before_it_begins_and_what_is_left_while_it_runs(tmp_path):
    said = []
    auto(Quick(), tmp_path, say=said.append)
    assert said[0].startswith("60 minutes")
    assert "recipe a" in "\n".join(said[:6])
    assert sum("left" in line for line in said) >= 7


def test_minutes_too_few_for_the_folds_stop_before_anything_runs(tmp_path):
    workshop = Quick()
    with pytest.raises(UserError, match="more minute"):
        auto(workshop, tmp_path, minutes=1)
    assert workshop.ran == []


def test_the_time_spent_is_known_after_a_kill_in_the_middle_of_a_run(tmp_path, monkeypatch):
    class Slow(Quick):
        def heat(self, recipe, fold, minutes, folder):
            time.sleep(0.3)
            known.append(json.loads((folder.parents[1] / STATE).read_text())["seconds"])
            return super().heat(recipe, fold, minutes, folder)

    known = []
    monkeypatch.setattr("segfocal.auto.auto._BEAT", 0.02)
    with pytest.raises(KeyboardInterrupt):
        auto(Slow(dies_after=0), tmp_path)
    assert 0.2 < known[0] < 60


def test_the_time_of_reading_the_data_counts(tmp_path):
    began = time.monotonic() - 600
    run = Auto(Quick(), minutes=60, folder=tmp_path, asked={}, began=began, say=lambda line: None)
    assert run.left == pytest.approx(3000, abs=5)
