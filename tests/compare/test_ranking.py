"""Comparisons: what is read back of a run, means over seeds, tests against the best, and the page."""

import csv
import json
import math

import pytest
from scipy.stats import wilcoxon

from segfocal.compare.page import compare
from segfocal.compare.ranking import grid, ranked, varied
from segfocal.compare.runs import note_failure, note_refusal, note_start, read_runs, refused
from segfocal.errors import UserError


def make_run(folder, dice, *overrides, error=None, finished=True):
    """Leave what a run leaves: Dice by case, without a prompt; with boxes it is always 1."""
    folder.mkdir(parents=True)
    note_start(folder, overrides)
    if error:
        note_failure(folder, overrides, error)
        return
    (folder / "metrics.jsonl").write_text('{"step": 5, "val_dice": 0.5}\n{"step": 6}\n{"step": 10, "val_dice": 0.7}\n')
    figures = {"iou": 0.5, "precision": 0.5, "recall": 0.5, "accuracy": 0.5, "auc": 0.9, "hd95_mm": 3.0}
    counts = {"tp": 1, "fp": 2, "fn": 3, "tn": 4}
    scores = [
        {"case": case, "structure": "liver", "prompt": prompt, "dice": value, **figures, **counts}
        for case, without in dice.items()
        for prompt, value in (("none", without), ("box", 1.0))
    ]
    if finished:
        (folder / "summary.json").write_text(json.dumps({"status": "finished", "seconds": 2.5, "scores": scores}))


@pytest.fixture
def sweep(tmp_path):
    """Two losses with four seeds on two cases, one of them better by about 0.1; one failed run."""
    for seed in range(4):
        noise = 0.01 * seed
        make_run(tmp_path / f"a{seed}", {"x": 0.80 + noise, "y": 0.70 - noise}, "loss=a", f"seed={seed}", "steps=9")
        make_run(tmp_path / f"b{seed}", {"x": 0.69 + noise, "y": 0.61 - noise}, "loss=b", f"seed={seed}", "steps=9")
    make_run(tmp_path / "b9", {}, "loss=b", "seed=9", "steps=9", error="expected a target; found none")
    return tmp_path


def test_only_what_differs_tells_settings_apart_and_the_best_comes_first(sweep):
    runs = read_runs([sweep])
    assert varied(runs) == ["loss", "seed"]
    best, other = ranked(runs)
    assert (best.label, other.label) == ("loss=a", "loss=b")
    mean, sd = best.figures["dice"]
    assert mean == pytest.approx(0.75)
    assert sd == pytest.approx(0, abs=1e-12)  # each seed's mean over its cases is the same
    assert len(other.runs) == 5
    assert best.figures["tp"][0] == 2  # summed over cases


def test_every_seed_of_a_setting_is_shown(sweep):
    best, other = compare([sweep], sweep / "comparison")
    assert best.by_seed == pytest.approx({"0": 0.75, "1": 0.75, "2": 0.75, "3": 0.75})
    assert list(other.by_seed) == ["0", "1", "2", "3"]  # not the one that failed
    first = next(csv.DictReader((sweep / "comparison" / "settings.csv").open()))
    assert first["dice_by_seed"] == "0:0.7500 1:0.7500 2:0.7500 3:0.7500"
    assert '<span title="seed 3">0.750</span>' in (sweep / "comparison" / "compare.html").read_text()


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
    rows, columns, row_values, column_values, values = grid(ranked(read_runs([tmp_path])))
    assert (rows, columns, row_values, column_values) == ("alpha", "gamma", [0.1, 0.25], [1, 2, 3])
    assert values[0] == pytest.approx([0.1, 0.2, 0.3])
    assert math.isnan(values[1][1])


def test_words_that_vary_make_no_grid(sweep):
    assert grid(ranked(read_runs([sweep]))) is None


def test_options_of_one_last_name_are_named_in_full(tmp_path):
    for a, b in ((1, 2), (2, 1)):
        make_run(tmp_path / f"{a}{b}", {"x": 0.5}, f"focal.alpha={a}", f"tversky.alpha={b}")
    assert {s.label for s in ranked(read_runs([tmp_path]))} == {
        "focal.alpha=1, tversky.alpha=2",
        "focal.alpha=2, tversky.alpha=1",
    }


def test_a_comparison_is_tables_pictures_and_one_page_with_every_command(sweep):
    compare([sweep], sweep / "comparison")
    rows = list(csv.DictReader((sweep / "comparison" / "results.csv").open()))
    assert len(rows) == 9
    assert [row["status"] for row in rows].count("failed") == 1
    assert all(math.isfinite(float(row["dice"])) for row in rows if row["status"] == "finished")
    page = (sweep / "comparison" / "compare.html").read_text()
    assert "python scripts/train.py loss=a seed=2 steps=9" in page
    assert "expected a target; found none" in page
    assert "http" not in page.replace("http-equiv", "")  # needs nothing from outside
    assert (sweep / "comparison" / "dice.png").stat().st_size > 1000
    assert (sweep / "comparison" / "seeds.png").stat().st_size > 1000
    assert len(list(csv.DictReader((sweep / "comparison" / "settings.csv").open()))) == 2


def test_a_run_cut_short_is_unfinished_and_a_command_is_quoted_where_a_shell_would_read_it(tmp_path):
    make_run(tmp_path / "run", {}, "gamma={linear:{0:0,1:2}}", finished=False)
    (run,) = read_runs([tmp_path / "run"])
    assert run.status == "unfinished"
    assert run.figures == {}
    assert run.command == "python scripts/train.py 'gamma={linear:{0:0,1:2}}'"


def test_a_refusal_leaves_an_earlier_result_alone_and_a_new_start_does_not(tmp_path):
    make_run(tmp_path / "run", {"x": 0.5}, "seed=1")
    note_refusal(tmp_path / "run", ["seed=2"], "another run lies there")
    assert read_runs([tmp_path])[0].finished
    assert refused(tmp_path) == [f"{tmp_path / 'run'}: another run lies there"]
    note_start(tmp_path / "run", ["seed=1"])
    assert read_runs([tmp_path])[0].status == "unfinished"


def test_a_folder_without_runs_is_refused(tmp_path):
    with pytest.raises(UserError, match="run directory"):
        read_runs([tmp_path])
    with pytest.raises(UserError, match="no such folder"):
        read_runs([tmp_path / "nowhere"])
