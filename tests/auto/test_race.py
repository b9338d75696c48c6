"""The race of recipes by successive halving."""

from segfocal.auto.race import TIE, Heat, race
from segfocal.auto.recipes import Recipe
from segfocal.auto.time_plan import RacePlan

RECIPES = [Recipe(name=name, options={}, why="") for name in "abcd"]
PLAN = RacePlan(recipes=4, seconds=60.0)


def runner(dice):
    """Return a function that runs a heat with the Dice of (recipe, fold), and the list of those it ran."""
    ran = []

    def run(recipe, fold, minutes):
        ran.append((recipe.name, fold, minutes))
        return Heat(recipe=recipe.name, fold=fold, minutes=minutes, dice=dice[recipe.name, fold], steps=9, overhead=1.0)

    return run, ran


def test_the_better_half_runs_again_twice_as_long_on_another_fold_and_the_best_mean_wins():
    run, ran = runner({("a", 0): 0.3, ("b", 0): 0.6, ("c", 0): 0.5, ("d", 0): 0.1, ("b", 1): 0.4, ("c", 1): 0.7})
    winner, heats = race(RECIPES, PLAN, folds=3, run=run)
    assert ran == [*((name, 0, 1.0) for name in "abcd"), ("b", 1, 2.0), ("c", 1, 2.0)]
    assert winner.name == "c"
    assert len(heats) == 6


def test_of_recipes_within_a_tie_the_simplest_wins():
    run, _ = runner({("a", 0): 0.6, ("b", 0): 0.5, ("c", 0): 0.6 + TIE, ("d", 0): 0.1, ("a", 1): 0.6, ("c", 1): 0.6})
    assert race(RECIPES, PLAN, folds=2, run=run)[0].name == "a"


def test_a_single_recipe_wins_without_a_race():
    run, ran = runner({})
    winner, heats = race(RECIPES, RacePlan(recipes=1, seconds=0.0), folds=2, run=run)
    assert (winner.name, heats, ran) == ("a", [], [])
