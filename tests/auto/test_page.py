"""What the page of an auto run says."""

from segfocal.auto.page import tried_and_not
from segfocal.auto.race import Heat
from segfocal.auto.recipes import Recipe

RECIPES = [Recipe(name=name, options={}, why="") for name in "abc"]


def names(recipes):
    return [recipe.name for recipe in recipes]


def test_recipes_that_never_ran_are_not_among_those_tried():
    tried, not_tried = tried_and_not(RECIPES, [], RECIPES[0])
    assert (names(tried), names(not_tried)) == (["a"], ["b", "c"])
    heats = [Heat(recipe=name, fold=0, minutes=1.0, dice=0.5, steps=9, overhead=1.0) for name in "ab"]
    tried, not_tried = tried_and_not(RECIPES, heats, RECIPES[1])
    assert (names(tried), names(not_tried)) == (["a", "b"], ["c"])
