"""Every format of others, spoiled in 250 ways: it is read or refused in one line, within a second of the processor."""

import copy
import json
import random
import time

import numpy as np
import yaml

from segfocal import models
from segfocal.cli.resume import RunRequest, has_finished
from segfocal.compare.runs import read_run
from segfocal.data.label_counts import foreground_shares
from segfocal.data.layouts import dataset_json, manifest, sam_med2d
from segfocal.data.splits import read_folds
from segfocal.data.store.cache import stale
from segfocal.data.store.prepared_case import PreparedCase
from segfocal.engine import checkpoint
from segfocal.errors import UserError
from segfocal.evaluate.prediction_report import read_prediction_report
from segfocal.grid import Grid
from segfocal.inference import bundle as bundles
from segfocal.inference.bundle_facts import read_facts
from segfocal.inference.prompted.prompt_file import read_prompts
from segfocal.models.weights.origin import origin_of
from segfocal.predict.manifest_entries import headings_from
from segfocal.resample import ModelGrid
from segfocal.structure import Structure
from tests.random_bundle import MODEL, make_bundle

TIMES = 250
UNWRITABLE = {"DEEP": "[" * 100_000 + "]" * 100_000, "LONG": "9" * 5000}  # by json.dumps: written in their place
VALUES = [
    None, True, False, 0, -1, 1, 2**31, 10**9, 10**25, 1.5, -0.0, 1e308, float("nan"), float("inf"), "", "x", "1",
    "\0", "\ud800", "../../x", "x" * 240, "a\nb", [], {}, [[]], [None], [1, 2], {"a": 1}, {"": None},
    ["x"] * 300, "DEEP", "LONG",
]  # fmt: skip


def spoiled(value, draw):
    """Return a copy of a JSON value with one to three places changed, taken away, doubled or renamed."""
    value = copy.deepcopy(value)
    for _ in range(draw.choice((1, 1, 2, 3))):
        holders = list(_holders(value))
        if not holders:
            return copy.deepcopy(draw.choice(VALUES))
        holder = draw.choice(holders)
        key = draw.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
        kind = draw.randrange(6)
        if kind == 0:
            del holder[key]
        elif kind == 1 and isinstance(holder, dict):
            holder[str(draw.choice(VALUES))[:50]] = holder.pop(key)
        elif kind == 2 and isinstance(holder, list):
            holder.append(copy.deepcopy(holder[key]))
        else:
            holder[key] = copy.deepcopy(draw.choice(VALUES))
    return copy.deepcopy(draw.choice(VALUES)) if draw.random() < 0.03 else value


def _holders(value):
    if isinstance(value, dict | list) and value:
        yield value
        for one in value.values() if isinstance(value, dict) else value:
            yield from _holders(one)


def as_json(value):
    return _with_unwritable(json.dumps(value))


def _with_unwritable(text):
    for name, meant in UNWRITABLE.items():
        text = text.replace(f'"{name}"', meant).replace(f" {name}\n", f" {meant}\n")
    return text


def as_yaml(value):
    return _with_unwritable(yaml.safe_dump(value))


def timed(read, number, value):
    """Return what a person is told of a file, "" of one that is read, and the processor's seconds."""
    began, told = time.process_time(), ""
    try:
        read()
    except UserError as error:
        told = str(error)
    except Exception as error:
        raise AssertionError(f"{number}: {value!r:.300}") from error
    return told, time.process_time() - began


def hold(write, read, valid):
    """Read a valid value spoiled in many ways: one of two ends only, each within a second of the processor."""
    draw = random.Random(7)
    assert write(valid) is None
    read()
    refusals = 0
    for number in range(TIMES):
        value = spoiled(valid, draw)
        write(value)
        told, seconds = timed(read, number, value)
        if seconds >= 1:  # a collection of garbage, of a process that ran many tests, is not the reader's
            told, seconds = timed(read, number, value)
        assert seconds < 1, value
        assert "\n" not in told, value
        assert len(told) < 1000
        refusals += bool(told)
    assert refusals > TIMES // 20


def writer(path, dump=as_json):
    path.parent.mkdir(parents=True, exist_ok=True)
    return lambda value: path.write_text(dump(value), encoding="utf-8", errors="surrogatepass") and None


def as_paths(value):
    """Without NUL and line ends, as no path has them."""
    return as_json(value).replace("\\u0000", "?").replace("\\n", " ")


def lines(value):
    return "".join(as_json(row) + "\n" for row in value) if isinstance(value, list) else as_json(value)


def test_bundle_json(tmp_path):
    make_bundle(tmp_path)
    valid = json.loads((tmp_path / "bundle.json").read_text())

    def read():
        bundles.read_intensity(tmp_path)
        bundles.read_channels(tmp_path)
        bundles.read_structure_names(tmp_path)
        bundles.load(tmp_path)

    assert valid["model"]["_target_"] == MODEL["_target_"]
    hold(writer(tmp_path / "bundle.json"), read, valid)
    read_facts(make_bundle(tmp_path / "again") / "bundle.json")


def test_prompts_json(tmp_path):
    valid = {"space": "voxel", "prompts": [
        {"structure": "liver", "lower": [1, 2, 3], "upper": [4, 5, 6], "space": "voxel"},
        {"structure": "liver", "point": [1, 1, 1], "inside": False},
        {"structure": "spleen", "absent": True, "slice": 3},
        {"structure": "spleen", "scribble": [[1, 1, 1], [3, 2, 4]], "inside": False},
        {"structure": "liver", "lasso": [[1, 1, 1], [3, 1, 1], [3, 5, 1]]},
    ]}  # fmt: skip
    both = (Structure(name="liver", value=5), Structure(name="spleen", value=1))
    grid = Grid(shape=(24, 20, 9), affine=np.diag([2.0, 3.0, 4.0, 1.0]))
    path = tmp_path / "prompts.json"
    hold(writer(path), lambda: read_prompts(path, grid, both, ModelGrid(spacing_mm=(1.5, 1.5))), valid)


def test_manifest_jsonl_of_predictions(tmp_path):
    entry = {"name": "a", "state": "done", "input": ["a", 1, 2], "signature": "5", "sha256": {"a": "0"}, "seconds": 1.0}
    valid = [entry, entry | {"state": "failed", "message": "cut"}]
    hold(writer(tmp_path / "m.jsonl", lines), lambda: list(headings_from(tmp_path / "m.jsonl")), valid)


def test_run_json_summary_and_rows(tmp_path):
    score = dict.fromkeys(
        ("dice", "iou", "precision", "recall", "accuracy", "auc", "hd95_mm", "tp", "fp", "fn", "tn"), 1
    )
    files = {
        "run.json": {"overrides": ["loss=dice", "seed=1"], "choices": {"loss": "dice", "data": None}, "error": None},
        "summary.json": {"status": "finished", "seconds": 2.5, "scores": [
            {"case": "a", "structure": "liver", "prompt": "none", **score}]},
        "metrics.jsonl": [{"step": 5, "val_dice": 0.5}, {"step": 6}],
        "config.yaml": {"loss": {"gamma": 2.0, "terms": ["a", "b"]}, "seed": 0},
    }  # fmt: skip
    writers = {
        name: writer(tmp_path / name, {"config.yaml": as_yaml, "metrics.jsonl": lines}.get(name, as_json))
        for name in files
    }
    plan = type("Plan", (), {"config": "seed: 0"})
    request = RunRequest(folder=tmp_path, overwrite=False, automatic=True)

    def read():
        read_run(tmp_path)
        has_finished(plan, request)

    for name, valid in files.items():
        for other, value in files.items():
            writers[other](value)
        hold(writers[name], read, valid)


def test_report_beside_a_mask(tmp_path):
    valid = {"segfocal": "1", "structures": {"ball": 1}, "made_of": {"ball": [4, 6]}, "input": "s.nii.gz",
             "bundle": ["a"], "files": {"ball": ["mask_ball.nii.gz"]}}  # fmt: skip

    def read():
        read_prediction_report(tmp_path / "mask.nii.gz")
        read_prediction_report(tmp_path / "mask_ball.nii.gz")

    hold(writer(tmp_path / "mask.json"), read, valid)


def test_dataset_json(tmp_path):
    for folder in ("imagesTr", "labelsTr"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.nii.gz").touch()
    row = {"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"}
    for valid in (
        {"labels": {"0": "background", "1": "liver"}, "training": [row, dict(row)], "modality": {"0": "CT"}},
        {"labels": {"background": 0, "whole": [1, 2], "core": 2, "ignore": 3}, "channel_names": {"0": "CT"},
         "file_ending": ".nii.gz", "numTraining": 1, "dataset": {"a": {"images": ["x"], "label": "y"}}},
    ):  # fmt: skip
        hold(writer(tmp_path / "dataset.json", as_paths), lambda: raising(dataset_json.read, tmp_path), valid)


def raising(read, path):
    """Read a list of cases and raise the first of its problems."""
    contents = read(path)
    if contents.problems:
        raise contents.problems[0].error


def test_lists_of_cases(tmp_path):
    rows = [{"image": ["a.nii.gz", "b.nii.gz"], "label": {"liver": "l.nii.gz"}, "name": "a", "group": "1"},
            {"image": "c.nii.gz", "label": ["d.nii.gz"], "name": "b"}]  # fmt: skip

    hold(writer(tmp_path / "l.jsonl", lines), lambda: raising(manifest.read_jsonl, tmp_path / "l.jsonl"), rows)
    (tmp_path / "s").mkdir()
    for name in ("x.png", "x_liver_000.png"):
        (tmp_path / "s" / name).touch()
    train = tmp_path / "s" / "image2label_train.json"
    hold(
        writer(train, as_paths), lambda: raising(sam_med2d.read_folder, tmp_path / "s"), {"x.png": ["x_liver_000.png"]}
    )


def test_splits_final_json(tmp_path):
    valid = [{"train": ["a", "b"], "val": ["c"]}, {"train": ["a", "c"], "val": ["b"]}]
    hold(writer(tmp_path / "s.json"), lambda: read_folds(tmp_path / "s.json"), valid)


def test_case_json_of_prepared_slices(tmp_path):
    valid = {"format": 2, "case": "a", "files": [["a", 1, 2]], "shape": [3, 4, 5], "channels": 1, "offset": [0, 0, 0],
             "label_values": [0, 1], "pixels": [[1, 2, 3]]}  # fmt: skip

    def read():
        case = PreparedCase("a", tmp_path / "a", None)
        assert len(case.shape) == len(case.offset) == 3
        assert case.channels + len(case.label_values) > 0
        stale(tmp_path)
        assert case.pixels.dtype == np.int64

    hold(writer(tmp_path / "a" / "case.json"), read, valid)


def test_damaged_records_of_ours_are_made_again_or_passed_over(tmp_path):
    draw = random.Random(7)
    counts, sums = writer(tmp_path / "label_counts.json"), writer(tmp_path / "step_000001" / "checksums.json")
    for _ in range(TIMES):
        counts(spoiled({"a 1 2": {"0": 5, "1": 6}}, draw))
        assert foreground_shares([], [Structure(name="a", value=1)], tmp_path) == []
        sums(spoiled({"model.safetensors": "0", "optimizer.bin": "1"}, draw))
        assert isinstance(checkpoint.damage(tmp_path / "step_000001") or "", str)


def test_facts_of_weights_in_a_bundle(tmp_path):
    valid = {"training": {"weights": {"licence": "Apache-2.0", "source": "x"}}}
    make_bundle(tmp_path)
    write, draw = writer(tmp_path / "bundle.json"), random.Random(7)
    file = models.weights.read(tmp_path)
    for _ in range(TIMES):
        write(spoiled(valid, draw))
        assert all(isinstance(text, str) for text in origin_of(file, "0").values())
