"""Settings ranked: what tells them apart, means over seeds, tests against the best."""

import json
import math

import pytest
from scipy.stats import wilcoxon

from segfocal.compare.ranking import dice_grid, ranked, varied
from segfocal.compare.runs import read_runs
from tests.compare.runs import make_run


def test_only_what_differs_tells_settings_apart_and_the_best_comes_first(sweep):
    runs = read_runs([sweep])
    assert varied(runs) == ["loss", "seed"]
    best, other = ranked(runs)
    assert (best.label, other.label) == ("loss=a", "loss=b")
    mean, sd = best.metrics["dice"]
    assert mean == pytest.approx(0.75)
    assert sd == pytest.approx(0, abs=1e-12)  # each seed's mean over its cases is the same
    assert len(other.runs) == 5
    assert best.metrics["tp"][0] == 2  # summed over cases


def test_a_setting_is_tested_against_the_best_by_pairs_of_seed_and_case(sweep):
    _, other = ranked(read_runs([sweep]))
    differences = [0.11] * 4 + [0.09] * 4
    assert other.pairs == 8
    assert other.against_best == pytest.approx(wilcoxon(differences).pvalue)


def test_p_values_are_corrected_for_the_number_of_settings(tmp_path):
    for place, loss in enumerate("abc"):
        for seed in range(6):
            make_run(
                tmp_path / f"{loss}{seed}", {"x": 0.9 - 0.1 * place + 0.001 * seed}, f"loss={loss}", f"seed={seed}"
            )
    _, second, third = ranked(read_runs([tmp_path]))
    raw = wilcoxon([0.1] * 6).pvalue
    assert [second.against_best, third.against_best] == pytest.approx([2 * raw, 2 * raw])  # Holm: never below the first


def with_config(folder, **config):
    (folder / "config.yaml").write_text(json.dumps(config))  # JSON is YAML


def test_an_option_said_and_the_same_by_default_are_one_setting(tmp_path):
    make_run(tmp_path / "a", {"x": 0.9}, "train.lr=0.001", "seed=0")
    make_run(tmp_path / "b", {"x": 0.8}, "seed=1")
    with_config(tmp_path / "a", train={"lr": 0.001}, seed=0)
    with_config(tmp_path / "b", train={"lr": 0.001}, seed=1)
    assert varied(read_runs([tmp_path])) == ["seed"]
    assert len(ranked(read_runs([tmp_path]))) == 1


def test_a_default_that_has_changed_between_runs_tells_them_apart(tmp_path):
    for name, steps in (("a", 100), ("b", 300)):
        make_run(tmp_path / name, {"x": 0.9}, "loss=dice")
        with_config(tmp_path / name, train={"steps": steps}, cache=name, seed=0)
    make_run(tmp_path / "refused", {}, "loss=dice", error="no such file")  # before it had a config
    assert varied(read_runs([tmp_path])) == ["train.steps"]


def test_a_group_chosen_by_default_has_a_name(tmp_path):
    make_run(tmp_path / "a", {"x": 0.9}, "loss=dice")
    make_run(tmp_path / "b", {"x": 0.8})
    for name, loss in (("a", "dice"), ("b", "focal+dice")):
        note_start_again = json.loads((tmp_path / name / "run.json").read_text())
        (tmp_path / name / "run.json").write_text(json.dumps(note_start_again | {"choices": {"loss": loss}}))
        with_config(tmp_path / name, seed=0)
    assert [setting.label for setting in ranked(read_runs([tmp_path]))] == ["loss=dice", "loss=focal+dice"]


def test_too_few_pairs_get_no_p_value(tmp_path):
    for loss in "ab":
        make_run(tmp_path / loss, {"x": 0.9 if loss == "a" else 0.1}, f"loss={loss}")
    _, other = ranked(read_runs([tmp_path]))
    assert other.against_best is None
    assert other.pairs == 1


def test_two_numbers_that_vary_make_a_grid_with_gaps(tmp_path):
    for alpha in (0.1, 0.25):
        for gamma in (1, 2, 3):
            error = "out of memory" if (alpha, gamma) == (0.25, 2) else None
            make_run(
                tmp_path / f"{alpha}-{gamma}", {"x": alpha * gamma}, f"alpha={alpha}", f"gamma={gamma}", error=error
            )
    grid = dice_grid(ranked(read_runs([tmp_path])))
    assert (grid.rows, grid.columns) == ("alpha", "gamma")
    assert (grid.row_values, grid.column_values) == ([0.1, 0.25], [1, 2, 3])
    assert grid.dice[0] == pytest.approx([0.1, 0.2, 0.3])
    assert math.isnan(grid.dice[1][1])


def test_words_that_vary_make_no_grid(sweep):
    assert dice_grid(ranked(read_runs([sweep]))) is None


def test_options_of_one_last_name_are_named_in_full(tmp_path):
    for a, b in ((1, 2), (2, 1)):
        make_run(tmp_path / f"{a}{b}", {"x": 0.5}, f"focal.alpha={a}", f"tversky.alpha={b}")
    assert {s.label for s in ranked(read_runs([tmp_path]))} == {
        "focal.alpha=1, tversky.alpha=2",
        "focal.alpha=2, tversky.alpha=1",
    }
