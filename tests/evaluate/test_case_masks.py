"""The masks of a case: those of one structure alone have the value of the report beside them."""

import json

import numpy as np
import pytest

from segfocal.errors import UserError
from segfocal.evaluate.evaluate import evaluate
from segfocal.evaluate.options import EvaluationSettings, MaskEvaluation
from segfocal.grid import Grid
from tests.evaluate.folders import rows_of
from tests.scans import affine_of, make_scan, spoil_header

STRUCTURES = {"spleen": 1, "liver": 5, "left_kidney": 7}


@pytest.fixture
def separate(tmp_path):
    """A reference of three structures, and the mask of each alone as `predict separate=true` leaves them."""
    reference = np.zeros((12, 9, 6), np.uint8)
    reference[1:3, 1:4, 1:4], reference[5:8, 1:4, 1:4], reference[9:11, 1:4, 1:4] = 1, 5, 7
    make_scan(tmp_path / "labels" / "c.nii.gz", reference)
    make_scan(tmp_path / "scan.nii.gz", reference)
    for name, value in STRUCTURES.items():
        make_scan(tmp_path / "masks" / f"c_{name}.nii.gz", np.uint8(reference == value))
    report = {"segfocal": "1", "structures": STRUCTURES, "input": str(tmp_path / "scan.nii.gz")}
    report["files"] = {name: [f"c_{name}.nii.gz"] for name in STRUCTURES}
    (tmp_path / "masks" / "c.json").write_text(json.dumps(report))
    return tmp_path


def judged(folder, name, *, labels=None, **options):
    return rows_of(
        evaluate(
            MaskEvaluation(
                prediction=folder / "masks" / name,
                reference=folder / "labels" / "c.nii.gz",
                output=folder / "out",
                settings=EvaluationSettings(labels=labels),
                overwrite=True,
                **options,
            )
        )
    )


@pytest.mark.parametrize("labels", [None, STRUCTURES])
@pytest.mark.parametrize("name", STRUCTURES)
def test_a_mask_of_one_structure_is_judged_by_the_value_of_its_report(separate, name, labels):
    (row,) = judged(separate, f"c_{name}.nii.gz", labels=labels)
    assert (row["structure"], row["label"], row["dice"]) == (name, STRUCTURES[name], 1.0)
    assert (separate / "out" / "overlay.png").is_file()


def test_a_pattern_and_a_second_mask_too(separate):
    against = separate / "masks" / "c_liver.nii.gz"
    (row,) = judged(separate, "*_liver.nii.gz", against=against, workers=1)
    assert (row["structure"], row["label"], row["dice"]) == ("liver", 5, 1.0)
    (line,) = (separate / "out" / "metrics_against.csv").read_text().splitlines()[1:]
    assert line.startswith("c,liver,5,1.0")


def test_a_mask_of_another_structure_is_refused(separate):
    with pytest.raises(UserError, match="one of liver alone"):
        judged(separate, "c_liver.nii.gz", labels={"spleen": 1})


def test_a_union_is_compared_with_its_parts(separate):
    path = separate / "masks" / "c.json"
    report = json.loads(path.read_text())
    report["structures"], report["made_of"] = {"liver": 1, "spleen": 2}, {"liver": [5], "spleen": [1]}
    path.write_text(json.dumps(report))
    for name in report["structures"]:
        (row,) = judged(separate, f"c_{name}.nii.gz")
        assert (row["structure"], row["dice"]) == (name, 1.0)


# Grids that are the same


SHAPE, AFFINE = (12, 9, 6), affine_of(spacing_mm=(0.7, 0.9, 3.0), degrees=(8.0, -5.0, 11.0))


def pair(folder, *, affine=AFFINE, change=lambda array: array, reference=None, **options):
    """Write a reference and a prediction of other voxels or another affine; return the row that judges them."""
    truth = np.zeros(SHAPE, np.uint8)
    truth[2:9, 3:7, 1:5] = 3
    made = truth.copy()
    made[8] = 0
    make_scan(folder / "truth.nii.gz", truth, AFFINE if reference is None else reference)
    make_scan(folder / "mask.nii.gz", change(made), affine, **options)
    (case,) = evaluate(
        MaskEvaluation(prediction=folder / "mask.nii.gz", reference=folder / "truth.nii.gz", output=folder / "out")
    )
    (row,) = case.rows()
    return row


@pytest.mark.parametrize("axes", ["LPS", "RPI", "PIR", "SAL", "ASL", "LAS"])
def test_a_prediction_stored_along_other_axes_is_turned(tmp_path, axes):
    grid = Grid(shape=SHAPE, affine=AFFINE)
    turn = grid.orientation_to(axes)
    row = pair(tmp_path, affine=grid.oriented(turn).affine, change=turn.apply)
    assert (row["tp"], row["fp"], row["fn"]) == (6 * 4 * 4, 0, 4 * 4)
    assert row["hd_mm"] == pytest.approx(0.7, rel=1e-4)
    assert "message" not in row or row["message"] == ""


@pytest.mark.parametrize(("share", "same"), [(0.05, True), (0.099, True), (0.11, False)])
def test_a_tenth_of_a_voxel_is_the_same_grid_with_a_note(tmp_path, share, same):
    moved = AFFINE.copy()
    moved[0, 3] += share * 0.7
    if not same:
        with pytest.raises(UserError, match=r"voxels up to 0\.077 mm apart"):
            pair(tmp_path, affine=moved)
        return
    row = pair(tmp_path, affine=moved)
    assert row["tp"] == 6 * 4 * 4
    assert f"mask.nii.gz: its voxels, up to {share * 0.7:.3g} mm off, are taken for those" in row["message"]


def test_sform_and_qform_of_one_tilt_are_one_grid(tmp_path):
    tilted = affine_of(spacing_mm=(0.7, 0.7, 3.0), axes="LPS", degrees=(0.3, -0.2, 0.1))
    row = pair(tmp_path, affine=tilted, reference=tilted, sform_code=0)
    assert row["dice"] == pytest.approx(12 / 13)


def test_labels_of_a_resampler_are_rounded_with_a_note(tmp_path):
    row = pair(tmp_path, change=lambda array: (array * 0.9999833).astype(np.float32))
    assert (row["structure"], row["tp"]) == ("label_3", 6 * 4 * 4)
    assert "values such as 2.99995" in row["message"]


def test_distances_and_volumes_are_those_of_the_body(tmp_path):
    """Of a file in microns."""
    micron = np.diag([1000.0, 1000.0, 1000.0, 1]) @ AFFINE
    for name in ("truth", "mask"):
        array = np.zeros(SHAPE, np.uint8)
        array[2 : 9 if name == "truth" else 8, 3:7, 1:5] = 3
        spoil_header(make_scan(tmp_path / f"{name}.nii", array, micron), xyzt_units=3)
    (case,) = evaluate(
        MaskEvaluation(prediction=tmp_path / "mask.nii", reference=tmp_path / "truth.nii", output=tmp_path / "out")
    )
    (row,) = case.rows()
    assert row["hd_mm"] == pytest.approx(0.7, rel=1e-4)
    assert row["reference_ml"] == pytest.approx(7 * 16 * 0.7 * 0.9 * 3 / 1000, rel=1e-4)


def test_distances_of_a_tilted_gantry_are_those_of_the_body(tmp_path):
    sheared = np.diag([1.0, 1.0, 5.0, 1.0])
    sheared[1, 2] = 1.5
    truth, made = np.zeros((2, *SHAPE), np.uint8)
    truth[3, 3, 1], made[3, 3, 5] = 1, 1
    for name, array in (("truth", truth), ("mask", made)):
        make_scan(tmp_path / f"{name}.nii", array, sheared, qform_code=0)
    (case,) = evaluate(
        MaskEvaluation(prediction=tmp_path / "mask.nii", reference=tmp_path / "truth.nii", output=tmp_path / "out")
    )
    (row,) = case.rows()
    assert row["hd_mm"] == row["hd95_mm"] == row["assd_mm"] == pytest.approx(4 * np.hypot(5.0, 1.5))
    assert row["reference_ml"] == pytest.approx(0.005)
