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
    with pytest.raises(ValueError, match=f"train.{next(iter(wrong))} to be "):
        TrainingSettings(**wrong)


def test_a_message_about_one_setting_names_no_other():
    with pytest.raises(ValueError, match=r"^expected train.lr > 0, or auto; got train.lr=-1.0$"):
        TrainingSettings(lr=-1.0)
    with pytest.raises(ValueError, match=r"^expected train.warmup in \[0,1\); train.ema in \[0,1\); got "):
        TrainingSettings(warmup=1.0, ema=2.0)
    with pytest.raises(ValueError, match=r"^expected train.keep to be last or best; got 'first'$"):
        TrainingSettings(keep="first")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"steps": 0}, "train.steps ≥ 1, at most 1000000000; got"),
        ({"steps": -5}, "train.steps ≥ 1, at most 1000000000; got"),
        ({"steps": 10**18}, "train.steps ≥ 1, at most 1000000000; got"),
        ({"workers": 10**6}, "train.workers ≥ 0, at most "),
        ({"lr": float("nan")}, "train.lr to be auto or a number; got nan"),
        ({"lr": float("inf")}, "train.lr to be auto or a number; got inf"),
        ({"clip_norm": float("inf")}, "train.clip_norm to be a number or null; got inf"),
    ],
)
def test_settings_that_no_machine_can_keep_are_refused(wrong, words):
    with pytest.raises(ValueError, match=f"^expected {words}"):
        TrainingSettings(**wrong)


def test_a_switch_in_words_is_a_switch():
    assert TrainingSettings(tf32="no", compile="on") == TrainingSettings(tf32=False, compile=True)
