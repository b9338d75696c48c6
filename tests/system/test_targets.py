"""Unions, overlapping structures, ignored voxels and folds through the commands: trained, predicted, judged."""

import csv
import json

import nibabel as nib
import numpy as np
import pytest

from segfocal.data.cases import read_cases
from segfocal.evaluate.judge import judge
from segfocal.evaluate.options import EvaluationSettings
from segfocal.evaluate.pairing import CaseFiles
from segfocal.inference import bundle as bundles
from tests.scans import affine_of, make_scan, make_sphere_case, sphere
from tests.system.commands import segfocal
from tests.system.test_bad_input import fails
from tests.system.test_channels import UNET, predict, train

SHAPE = (35, 31, 5)
AFFINE = affine_of(spacing_mm=(2.0, 2.0, 3.0), axes="LPS")
OVERLAPPING = "target=[{ball:[4,6]},6]"


@pytest.fixture(scope="module")
def balls(tmp_path_factory):
    """An nnU-Net folder of four balls of value 4 with a core of 6, beside a block to ignore."""
    root = tmp_path_factory.mktemp("balls")
    core = sphere(SHAPE, AFFINE, radius_mm=6.0)
    for seed in range(4):
        image, label = make_sphere_case(
            root, f"p{seed // 2}_{seed}", shape=SHAPE, affine=AFFINE, radius_mm=14.0, value=4, seed=seed
        )
        array = np.asarray(nib.load(label).dataobj).copy()
        array[core], array[:8] = 6, 9
        make_scan(label, array, AFFINE)
        for file, folder, ending in ((image, "imagesTr", "_0000"), (label, "labelsTr", "")):
            (root / folder).mkdir(exist_ok=True)
            file.rename(root / folder / f"p{seed // 2}_{seed}{ending}.nii.gz")
    facts = {"labels": {"background": 0, "rim": 4, "core": 6, "ignore": 9}, "file_ending": ".nii.gz"}
    (root / "dataset.json").write_text(json.dumps(facts))
    return root


def test_a_union_is_trained_with_ignored_voxels_predicted_and_judged(monkeypatch, tmp_path, balls):
    options = ["data=folder", "data.hold_out=0.25", "target={ball:[rim,core]}", "train.steps=20", *UNET]
    assert train(monkeypatch, balls, tmp_path / "run", *options) == 0
    (ball,) = bundles.load(tmp_path / "run" / "bundle").structures
    assert (ball.name, ball.value, ball.of) == ("ball", 1, (4, 6))
    held = "p0_0"
    image, label = balls / "imagesTr" / f"{held}_0000.nii.gz", balls / "labelsTr" / f"{held}.nii.gz"
    assert predict(monkeypatch, tmp_path / "run", image, tmp_path / "mask.nii.gz") == 0
    assert json.loads((tmp_path / "mask.json").read_text())["made_of"] == {"ball": [4, 6]}
    folder = tmp_path / "judged"
    assert segfocal(
        monkeypatch, "evaluate", f"prediction={tmp_path}/mask.nii.gz", f"reference={label}", f"output={folder}"
    ) == 0  # fmt: skip
    mask, true = (np.asarray(nib.load(path).dataobj) for path in (tmp_path / "mask.nii.gz", label))
    assert set(np.unique(mask)) <= {0, 1}
    ball = np.isin(true, [4, 6])
    dice = 2 * (mask[ball] == 1).sum() / ((mask == 1).sum() + ball.sum())
    with (folder / "metrics.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert float(row["dice"]) == pytest.approx(dice, abs=1e-4)
    counted = EvaluationSettings(ignore=9, groups=("overlap",))
    files = CaseFiles(name=held, prediction=tmp_path / "mask.nii.gz", reference=label)
    (metrics,) = judge(files, counted, compared=False, ranked=False).metrics
    assert metrics.dice == pytest.approx(2 * (mask[ball] == 1).sum() / ((mask == 1)[true != 9].sum() + ball.sum()))


def test_structures_that_overlap_are_trained_and_written_apart(monkeypatch, tmp_path, balls, capfd):
    assert train(monkeypatch, balls, tmp_path / "run", "data=folder", OVERLAPPING, "train.postprocess=auto", *UNET) == 0
    scores = json.loads((tmp_path / "run" / "summary.json").read_text())["scores"]
    assert {score["structure"] for score in scores} == {"ball", "core"}
    image, mask = balls / "imagesTr" / "p0_0_0000.nii.gz", tmp_path / "mask.nii.gz"
    capfd.readouterr()
    fails(capfd, predict(monkeypatch, tmp_path / "run", image, mask), "separate=true", "may overlap")
    assert predict(monkeypatch, tmp_path / "run", image, mask, "separate=true") == 0
    assert not mask.exists()
    for name in ("ball", "core"):
        assert set(np.unique(nib.load(tmp_path / f"mask_{name}.nii.gz").dataobj)) <= {0, 1}
    code = segfocal(monkeypatch, "export", f"bundle={tmp_path}/run/bundle", f"output={tmp_path}/out", f"scan={image}")
    fails(capfd, code, "may overlap")


def test_overlap_and_softmax_do_not_go_together(monkeypatch, tmp_path, balls, capfd):
    code = train(monkeypatch, balls, tmp_path / "run", "data=folder", OVERLAPPING, "loss=softmax_focal", *UNET)
    fails(capfd, code, "sigmoid link", "may overlap")


@pytest.mark.slow
def test_folds_of_patients_are_drawn_once(monkeypatch, tmp_path, balls, capfd):
    options = ["data=folder", "data.folds=2", "data.group='(p.)_.*'", "target=rim", "data.stratify=true", *UNET]
    validated = []
    for fold in (0, 1):
        run = tmp_path / f"run{fold}"
        assert train(monkeypatch, balls, run, *options, f"data.fold={fold}") == 0
        validated.append(sorted({s["case"] for s in json.loads((run / "summary.json").read_text())["scores"]}))
    assert sorted(map(tuple, validated)) == [("p0_0", "p0_1"), ("p1_2", "p1_3")]
    (file,) = (tmp_path / "prepared" / "splits").iterdir()
    assert [fold["val"] for fold in json.loads(file.read_text())["folds"]] == validated
    assert len(read_cases(balls).cases) == 4
    capfd.readouterr()
    fails(capfd, train(monkeypatch, balls, tmp_path / "x", *options, "data.fold=2"), "data.fold from 0 to 1", "found 2")
