"""Settings of a training run out of range are named before anything is built."""

import pytest

from segfocal.engine.settings import TrainingSettings


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 0},
        {"batch_size": 8, "accumulate": 3},
        {"lr": 0},
        {"ema": 1.0},
        {"precision": "fp8"},
        {"keep": "first"},
    ],
)
def test_settings_out_of_range_are_named(wrong):
    with pytest.raises(ValueError, match=f"train.{list(wrong)[-1]}"):
        TrainingSettings(**wrong)


@pytest.mark.parametrize(
    "wrong", [{"steps": "many"}, {"lr": "1e-3"}, {"workers": 1.5}, {"optimizer": 3}, {"steps": True}]
)
def test_settings_of_the_wrong_type_are_named(wrong):
    with pytest.raises(ValueError, match=f"train.{next(iter(wrong))} to be of type"):
        TrainingSettings(**wrong)


def test_a_message_about_one_setting_names_no_other():
    with pytest.raises(ValueError, match=r"^expected train.lr > 0; got train.lr=-1.0$"):
        TrainingSettings(lr=-1.0)
    with pytest.raises(ValueError, match=r"^expected train.ema in \[0,1\); train.keep last or best; got "):
        TrainingSettings(keep="first", ema=2.0)
