"""Training by lesion from the command line, and synthetic lesions."""

import csv
import json
import runpy

import numpy as np
import pytest

from segfocal.connected_components import components
from segfocal.io import nifti
from tests import ROOT
from tests.scans import affine_of, make_scan
from tests.system.commands import segfocal, small_training

UNET = ["model=unet", "task=semantic", "model.widths=[8,16,16]", "augment=light", "train.validate_every=0"]


@pytest.fixture(scope="module")
def lesions(tmp_path_factory):
    """Two scans of four cubes of different sizes."""
    root, rng = tmp_path_factory.mktemp("lesions"), np.random.default_rng(0)
    rows = ["name,image,label,split"]
    for name in ("train", "val"):
        label = np.zeros((36, 40, 8), np.uint8)
        for side, (x, y, z) in zip((9, 4, 2, 1), ((3, 3, 1), (20, 5, 3), (8, 28, 5), (28, 30, 2)), strict=True):
            label[x : x + side, y : y + side, z : z + side] = 1
        image = label * 100.0 + rng.normal(0, 8, label.shape)
        affine = affine_of(spacing_mm=(2.0, 2.0, 3.0))
        make_scan(root / f"{name}_image.nii.gz", image, affine, dtype=np.float32)
        make_scan(root / f"{name}_label.nii.gz", label, affine, dtype=np.uint8)
        rows.append(f"{name},{name}_image.nii.gz,{name}_label.nii.gz,{name}")
    (root / "cases.csv").write_text("\n".join(rows) + "\n")
    return root / "cases.csv"


def trained(monkeypatch, data, folder, *options):
    kept = [one for one in small_training(data, folder) if not one.startswith("model.")]
    assert segfocal(monkeypatch, "train", *kept, *UNET, "data.hold_out=0", *options) == 0
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def test_training_by_lesion_takes_the_lesions_that_prepare_numbered(lesions, tmp_path, monkeypatch, capsys):
    cache = tmp_path / "prepared"
    kept = [one for one in small_training(lesions, tmp_path / "run") if one.startswith(("data", "intensity", "target"))]
    assert segfocal(monkeypatch, "prepare", *kept, f"cache={cache}", "components=true") == 0
    before = {file: file.stat().st_mtime_ns for file in cache.rglob("*") if file.is_file()}
    assert any(file.name == "components.b2nd" for file in before)
    rows = trained(monkeypatch, lesions, tmp_path / "run", "loss=focal+cc_dice", "data.lesions=0.5", "train.steps=12")
    assert {file: file.stat().st_mtime_ns for file in cache.rglob("*") if file.is_file()} == before
    values = [float(row["cc_dice"]) for row in rows]
    assert len(values) == 12
    assert all(0 <= value < 1 for value in values)
    assert any(values)


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["focal+cc_dice", "focal+dice+blob", "component_focal+dice"])
@pytest.mark.parametrize("window", ["[32,32]", "[4,32,32]"])
def test_every_loss_by_lesion_trains_in_2_d_and_in_3_d(loss, window, lesions, tmp_path, monkeypatch):
    options = [f"loss={loss}", f"data.window={window}", "data.lesions=0.5", "data.lesion_edges=[5,10]", "train.steps=6"]
    rows = trained(monkeypatch, lesions, tmp_path / "run", *options, "train.accumulate=2")
    assert all(np.isfinite(float(row["loss"])) for row in rows)


@pytest.mark.slow
def test_loading_processes_change_nothing(lesions, tmp_path, monkeypatch):
    options = ["loss=focal+cc_dice", "data.lesions=0.5", "train.steps=4"]
    runs = [trained(monkeypatch, lesions, tmp_path / str(n), *options, f"train.workers={n}") for n in (0, 2)]
    assert [row["loss"] for row in runs[0]] == [row["loss"] for row in runs[1]]


def test_what_cannot_be_trained_by_lesion_is_refused(lesions, tmp_path, monkeypatch, capsys):
    kept = [one for one in small_training(lesions, tmp_path / "run") if not one.startswith("model.")]
    assert segfocal(monkeypatch, "train", *kept, *UNET, "data.lesions=1.5") == 1
    assert "expected data.lesions in [0,1]; got 1.5" in capsys.readouterr().err
    assert segfocal(monkeypatch, "train", *kept, *UNET, "data.lesion_edges=[5,3]") == 1
    assert "expected data.lesion_edges to be ascending" in capsys.readouterr().err


# Synthetic lesions


def test_synthetic_lesions_are_where_their_table_says_and_named_so(tmp_path):
    """Two copies of a liver of 60 mm: as many components as rows, the label alone changed, a seed gives the same."""
    make = runpy.run_path(str(ROOT / "scripts" / "make_lesions.py"))["make"]
    shape, affine = (40, 44, 24), affine_of(spacing_mm=(2.0, 2.0, 3.0), axes="LPS")
    liver = np.zeros(shape, np.uint8)
    liver[5:35, 6:38, 3:21] = 5
    make_scan(tmp_path / "ct_image.nii.gz", np.full(shape, 60, np.int16), affine)
    make_scan(tmp_path / "ct_label.nii.gz", liver, affine)
    (tmp_path / "cases.csv").write_text("name,image,label,split\nct,ct_image.nii.gz,ct_label.nii.gz,train\n")
    rows = make(tmp_path / "made", cases=tmp_path / "cases.csv", copies=2, seed=3)
    made = sorted((tmp_path / "made" / "labels").iterdir())
    assert [file.name for file in made] == ["synthetic_ct_00.nii.gz", "synthetic_ct_01.nii.gz"]
    assert json.loads((tmp_path / "made" / "label_names.json").read_text()) == {"1": "synthetic_lesion"}
    assert "Nothing here is a finding" in (tmp_path / "made" / "README.md").read_text()
    for file in made:
        mask, own = nifti.read_labels(file).array, [row for row in rows if row["case"] == file.name.split(".")[0]]
        assert 1 <= len(own) <= 15
        found = components(mask != 0)
        assert len(found.sizes) == len(own)
        assert sorted(found.sizes) == sorted(row["voxels"] for row in own)
        assert all(mask[row["i"], row["j"], row["k"]] for row in own)
        image = nifti.read(tmp_path / "made" / "images" / file.name).array
        assert abs(image[mask != 0] - 60).min() >= 5
        assert np.median(image) == 60
        for row in own:  # the size that was asked for, to a voxel all around
            ball = np.cbrt(row["voxels"] * 12 * 6 / np.pi)
            assert abs(ball - row["made_diameter_mm"]) < 4
    again = make(tmp_path / "again", cases=tmp_path / "cases.csv", copies=2, seed=3)
    assert again == rows
    for file in made:
        assert (tmp_path / "again" / "labels" / file.name).read_bytes() == file.read_bytes()


def test_synthetic_lesions_of_coarse_scans_lie_in_finer_voxels_and_copies_may_be_held_out(tmp_path):
    """A liver of 5 mm voxels: 20 mm around it in sides of 2.5 mm, at their place in the world, copies by turns."""
    make = runpy.run_path(str(ROOT / "scripts" / "make_lesions.py"))["make"]
    shape, affine = (24, 20, 12), affine_of(spacing_mm=(5.0, 5.0, 1.0), axes="RAS")
    liver = np.zeros(shape, np.uint8)
    liver[7:19, 2:18] = 5
    make_scan(tmp_path / "ct_image.nii.gz", np.full(shape, 60, np.int16), affine)
    make_scan(tmp_path / "ct_label.nii.gz", liver, affine)
    (tmp_path / "cases.csv").write_text("name,image,label,split\nct,ct_image.nii.gz,ct_label.nii.gz,train\n")
    made = tmp_path / "made"
    rows = make(made, cases=tmp_path / "cases.csv", copies=4, seed=0, finest_mm=2.5, split="copies")
    with (made / "cases.csv").open() as file:
        assert [row["split"] for row in csv.DictReader(file)] == ["train", "val", "train", "val"]
    for copy in range(4):
        mask = nifti.read_labels(made / "labels" / f"synthetic_ct_{copy:02d}.nii.gz")
        assert mask.array.shape == (40, 40, 12)
        assert mask.grid.spacing_mm == pytest.approx((2.5, 2.5, 1.0))
        corner = mask.grid.affine @ [-0.5, -0.5, -0.5, 1]
        assert corner == pytest.approx(affine @ [2.5, -0.5, -0.5, 1])  # from the fourth voxel on
        assert mask.array.any()
    assert all(8 <= row["i"] < 32 and 4 <= row["j"] < 36 for row in rows)
