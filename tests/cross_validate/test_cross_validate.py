"""Cross-validation: every case judged by a model that never saw it, one ensemble, nothing done twice."""

import csv
import json

import numpy as np
import pytest
import yaml

from segfocal.files import sha256_of
from segfocal.inference import bundle as bundles
from segfocal.inference.ensemble import members_of, training_values
from segfocal.intensity_statistics import percentiles_of
from segfocal.io import nifti
from tests.system.commands import segfocal, small_training

UNET = ["model=unet", "task=semantic", "model.widths=[8,16,16]", "train.steps=60", "train.lr=0.01", "augment=light"]


def options(data, folder, *more):
    """Return the options of a small cross-validation of a U-Net into `folder`."""
    small = [option for option in small_training(data, folder) if not option.startswith(("model.", "hydra."))]
    return [*small, f"output={folder}", "train.validate_every=0", *UNET, *more]


@pytest.fixture(scope="module")
def folder(spheres, tmp_path_factory):
    """The folder of a finished cross-validation of three scans."""
    folder = tmp_path_factory.mktemp("cv") / "cv"
    with pytest.MonkeyPatch.context() as monkeypatch:
        assert segfocal(monkeypatch, "cross-validate", *options(spheres, folder)) == 0
    return folder


def test_every_case_is_predicted_by_a_model_that_never_saw_it(folder):
    for fold in range(3):
        member = json.loads((folder / "bundle" / f"member_{fold}" / "bundle.json").read_text())
        for report in (folder / "predictions").glob("*.json"):
            said = json.loads(report.read_text())
            if said["bundle"].endswith(f"member_{fold}"):
                assert report.stem not in member["training"]["cases"]
    assert {path.name for path in (folder / "predictions").glob("*.nii.gz")} == {
        "one.nii.gz",
        "two.nii.gz",
        "held.nii.gz",
    }


def test_each_member_holds_the_values_of_its_training_scans_alone_and_predict_judges_by_all(folder, spheres):
    scans = {row["name"]: nifti.read(row["image"]).array for row in csv.DictReader(spheres.read_text().splitlines())}
    for fold in range(3):
        member = bundles.load(folder / "bundle" / f"member_{fold}")
        assert len(member.training["cases"]) == 2
        (channel,) = member.training_values
        rows = np.array([percentiles_of(scans[name], most=200_000) for name in member.training["cases"]])
        np.testing.assert_allclose([channel.percentiles.least, channel.percentiles.most], [rows.min(0), rows.max(0)])
    every = np.array([percentiles_of(array, most=200_000) for array in scans.values()])
    (channel,) = training_values([bundles.load(place) for place in members_of(folder / "bundle")])
    np.testing.assert_allclose([channel.percentiles.least, channel.percentiles.most], [every.min(0), every.max(0)])


def test_the_card_has_the_numbers_of_the_evaluation(folder):
    _, text, body = (folder / "bundle" / "README.md").read_text().split("---\n", 2)
    head = yaml.safe_load(text)
    source = folder / "evaluation" / "summary.csv"
    with source.open() as file:
        rows = {row["structure"]: row for row in csv.DictReader(file)}
    assert {one["metric"] for one in head["metrics"]} >= {"dice", "hd95_mm", "lesion_recall"}
    for one in head["metrics"]:
        written, name = rows[one["structure"]], one["metric"]
        assert one["mean"] == pytest.approx(float(written[f"{name}_mean"]), abs=5e-5)  # four digits
        ends = [float(written[f"{name}_{end}"]) for end in ("low", "high")]
        assert one["interval_95"] == pytest.approx(ends, abs=5e-5)
        assert one["cases"] == int(written["cases"]) == 3
    assert head["metrics_from"] == {"../evaluation/summary.csv": sha256_of(source)}
    assert "Out of fold" in body
    assert (folder / "bundle" / "member_0" / "README.md").is_file()


def test_the_summary_counts_what_the_masks_hold_in_the_shape_of_nnunet(folder, spheres):
    summary = json.loads((folder / "summary.json").read_text())
    assert set(summary) >= {"foreground_mean", "mean", "metric_per_case"}
    assert len(summary["metric_per_case"]) == 3
    dice = []
    for case in summary["metric_per_case"]:
        mask, truth = (nifti.read(case[key]).array == 1 for key in ("prediction_file", "reference_file"))
        both = int((mask & truth).sum())
        assert case["metrics"]["1"]["TP"] == both
        assert case["metrics"]["1"]["n_pred"] == int(mask.sum())
        dice.append(2 * both / (mask.sum() + truth.sum()))
    assert summary["mean"]["1"]["Dice"] == pytest.approx(np.mean(dice))
    assert summary["cross_validation"]["dice"] == pytest.approx(np.mean(dice), abs=1e-4)
    assert np.mean(dice) > 0.5


def test_the_ensemble_is_taken_as_any_bundle_and_members_are_fewer_for_speed(folder, spheres, tmp_path, monkeypatch):
    scan = next(line.split(",")[1] for line in spheres.read_text().splitlines() if line.startswith("held"))
    for name, more in (("all", []), ("one", ["members=1"])):
        asked = [f"bundle={folder}/bundle", f"input={scan}", f"output={tmp_path}/{name}.nii.gz", *more]
        assert segfocal(monkeypatch, "predict", *asked) == 0
    said = json.loads((tmp_path / "all.json").read_text())["bundle"]
    assert len(said) == 3
    assert json.loads((tmp_path / "one.json").read_text())["bundle"].endswith("member_0")


def test_the_same_command_again_trains_nothing_and_finds_the_same(folder, spheres, monkeypatch):
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("fold_*/metrics.jsonl")}
    summary = (folder / "summary.json").read_text()
    assert segfocal(monkeypatch, "cross-validate", *options(spheres, folder)) == 0
    assert {path.name: path.stat().st_mtime_ns for path in folder.glob("fold_*/metrics.jsonl")} == before
    assert (folder / "summary.json").read_text() == summary


def test_five_folds_of_three_cases_are_three_and_are_written_down(folder):
    folds = json.loads((folder / "splits.json").read_text())["folds"]
    assert sorted(name for fold in folds for name in fold["val"]) == ["held", "one", "two"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["threshold=0.3"], "threshold=auto or threshold=half"),
        (["data.folds=1"], "data.folds"),
        (["task=interactive", "model=sam_tiny"], "without a prompt"),
    ],
)
def test_what_cannot_be_cross_validated_is_one_line(more, said, spheres, tmp_path, monkeypatch, capfd):
    prompted = more[0].startswith("task")
    few = [option for option in options(spheres, tmp_path / "cv") if not (prompted and "model" in option)]
    assert segfocal(monkeypatch, "cross-validate", *few, *more) == 1
    shown = capfd.readouterr().err
    assert said in shown
    assert "Traceback" not in shown
