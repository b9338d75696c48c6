"""How the minutes are shared out."""

import pytest

from segfocal.auto.time_plan import LEAST_SECONDS, plan_race, seconds_a_fold, survivors
from segfocal.errors import UserError


@pytest.mark.parametrize(("recipes", "kept"), [(1, 1), (2, 2), (3, 2), (4, 2), (5, 3)])
def test_the_better_half_goes_on(recipes, kept):
    assert survivors(recipes) == kept


def test_an_hour_races_all_recipes_in_three_tenths_of_it():
    plan = plan_race(3600, recipes=5, folds=5, overhead=10)
    assert plan.recipes == 5
    assert plan.seconds == pytest.approx((0.3 * 3600 - 8 * 10) / 11)
    assert plan.runs == 11


def test_fewer_recipes_run_where_time_is_short_and_none_where_it_is_very_short():
    assert plan_race(900, recipes=5, folds=3, overhead=10).recipes < 5
    assert plan_race(900, recipes=5, folds=3, overhead=10).seconds >= LEAST_SECONDS
    assert plan_race(240, recipes=5, folds=3, overhead=10).recipes == 1


def test_the_folds_share_what_is_left_without_what_they_need_besides():
    assert seconds_a_fold(1000, folds=3, overhead=20, afterwards=60) == pytest.approx((960 - 60) / 3 - 20)


@pytest.mark.parametrize("left", [20, 100, 166])
def test_too_few_minutes_say_how_many_more_and_those_suffice(left):
    with pytest.raises(UserError, match=r"Give \d more minutes?, or fewer") as error:
        seconds_a_fold(left, folds=3, overhead=20, afterwards=20)
    assert "3 folds" in str(error.value)
    more = int(str(error.value).split(" more minute")[0].split()[-1])
    assert seconds_a_fold(left + 60 * more, folds=3, overhead=20, afterwards=20) >= 30
