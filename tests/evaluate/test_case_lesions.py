"""Lesions one by one: places, sizes, intensities and partners of both masks, and few rows of many specks."""

import json

import numpy as np
import pytest

from segfocal.evaluate.case_lesions import COLUMNS, MOST_LISTED
from segfocal.evaluate.evaluate import evaluate
from segfocal.evaluate.options import EvaluationSettings, MaskEvaluation
from segfocal.grid import Grid
from tests.evaluate.folders import table
from tests.scans import affine_of, make_scan, world_mm

SHAPE, AFFINE = (14, 12, 6), affine_of(spacing_mm=(2.0, 1.0, 3.0))


def masks():
    """Return a reference of three lesions, and a prediction that finds one, touches one and sees one that is none."""
    reference, prediction = np.zeros((2, *SHAPE), np.uint8)
    reference[1:5, 1:4, 1:3] = 1  # 24 voxels
    prediction[1:5, 1:4, 1:2] = 1  # 12 of them
    prediction[2:4, 1:4, 2:3] = 1  # and 6 more: IoU 3/4
    reference[8:11, 1:3, 1:3] = 1  # 12 voxels
    prediction[10:13, 1:3, 1:3] = 1  # 12 of which 4 common: IoU 1/5
    reference[12, 10, 5] = 1
    prediction[1, 10, 1:3] = 1
    return reference, prediction


def evaluated(folder, reference, prediction, *, affine=AFFINE, image=None, **settings):
    settings = {"labels": {"lesion": 1}, "groups": ("lesions",), **settings}
    return evaluate(
        MaskEvaluation(
            reference=make_scan(folder / "reference.nii.gz", reference, affine),
            prediction=make_scan(folder / "prediction.nii.gz", prediction, affine),
            image=image if image is None else make_scan(folder / "image.nii.gz", *image),
            output=folder / "out",
            settings=EvaluationSettings(**settings),
            overwrite=True,
        )
    )


def rows(folder):
    return {(row["mask"], row["lesion"]): row for row in table(folder / "out" / "lesions.csv")}


def test_lesions_of_both_masks_measured_by_hand(tmp_path):
    evaluated(tmp_path, *masks())
    found = rows(tmp_path)
    assert [(*key, row["status"], row["matched"]) for key, row in found.items()] == [
        ("reference", "1", "matched", "1"),
        ("reference", "2", "found", ""),
        ("reference", "3", "missed", ""),
        ("prediction", "1", "matched", "1"),
        ("prediction", "2", "touching", ""),
        ("prediction", "3", "false_positive", ""),
    ]
    assert [float(row["iou"]) for row in found.values()] == pytest.approx([0.75, 0.2, 0, 0.75, 0.2, 0])
    assert [float(row["volume_ml"]) for row in found.values()] == pytest.approx(
        [0.144, 0.072, 0.006, 0.108, 0.072, 0.012]
    )
    first, speck = found["reference", "1"], found["reference", "3"]
    assert [float(first[name]) for name in ("x_mm", "y_mm", "z_mm")] == pytest.approx(world_mm(AFFINE, (2.5, 2, 1.5)))
    assert (float(first["longest_mm"]), float(first["short_mm"])) == pytest.approx((73**0.5, 3 / 8 * 73**0.5))
    assert float(first["diameter_mm"]) == pytest.approx((6 * 144 / np.pi) ** (1 / 3))
    assert (float(speck["longest_mm"]), float(speck["short_mm"])) == pytest.approx((5**0.5, 0.5 * 5**0.5))
    assert list(first) == list(COLUMNS)
    assert first["mean_intensity"] == first["max_intensity"] == ""


def test_intensities_are_those_of_the_scan_inside_however_it_is_stored(tmp_path):
    reference, prediction = masks()
    scan = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE) / 7
    grid = Grid(shape=SHAPE, affine=AFFINE)
    turn = grid.orientation_to("PIR")
    evaluated(tmp_path, reference, prediction, image=(turn.apply(scan), grid.oriented(turn).affine))
    row = rows(tmp_path)["prediction", "3"]
    inside = scan[1, 10, 1:3]
    assert (float(row["mean_intensity"]), float(row["max_intensity"])) == pytest.approx((inside.mean(), inside.max()))


def test_a_scan_on_another_grid_leaves_intensities_out_and_is_told(tmp_path):
    reference, prediction = masks()
    for folder, array in (("references", reference), ("predictions", prediction), ("images", reference[1:])):
        make_scan(tmp_path / folder / "a.nii.gz", array, AFFINE)
    (case,) = evaluate(
        MaskEvaluation(
            **{name: tmp_path / f"{name}s" for name in ("reference", "prediction", "image")},
            output=tmp_path / "out",
            settings=EvaluationSettings(labels={"lesion": 1}),
            pictures=0,
        )
    )
    assert "lesions have no intensities: images/a.nii.gz differs in shape" in case.metrics[0].message
    assert all(row["mean_intensity"] == "" for row in table(tmp_path / "out" / "lesions.csv"))


def test_lesions_are_counted_by_size(tmp_path):
    (case,) = evaluated(tmp_path, *masks(), lesion_edges=[50, 100], lesion_size="mm3")  # 6, 72 and 144 mm³
    assert case.lesions[0].sizes == [(1, 0, 0), (1, 1, 0), (1, 1, 1)]
    (case,) = evaluated(tmp_path, *masks(), lesion_edges=[5], lesion_size="diameter_mm")  # 2.3, 5.2 and 6.5 mm
    assert case.lesions[0].sizes == [(1, 0, 0), (2, 2, 1)]
    (case,) = evaluated(tmp_path, *masks(), lesion_edges=[])
    assert case.lesions[0].sizes == [(3, 2, 1)]


def test_structures_that_overlap_have_their_lesions_each(tmp_path):
    """A liver with a lesion inside, each a mask of its own, as `predict separate=true` leaves them."""
    reference = np.zeros(SHAPE, np.uint8)
    reference[2:10, 2:10, 1:5], reference[4:6, 4:6, 2:4], reference[12, 10, 5] = 5, 6, 6
    make_scan(tmp_path / "labels" / "c.nii.gz", reference, AFFINE)
    made_of = {"liver": [5, 6], "tumour": [6]}
    for name, parts in made_of.items():
        make_scan(tmp_path / "masks" / f"c_{name}.nii.gz", np.uint8(np.isin(reference, parts)), AFFINE)
    report = {"segfocal": "1", "structures": {"liver": 1, "tumour": 2}, "made_of": made_of}
    report["files"] = {name: [f"c_{name}.nii.gz"] for name in made_of}
    (tmp_path / "masks" / "c.json").write_text(json.dumps(report))
    volumes = {}
    for name in made_of:
        output = tmp_path / name
        places = {"prediction": tmp_path / "masks" / f"c_{name}.nii.gz", "reference": tmp_path / "labels" / "c.nii.gz"}
        evaluate(MaskEvaluation(**places, output=output, settings=EvaluationSettings(groups=("lesions",))))
        listed = [row for row in table(output / "lesions.csv") if row["mask"] == "reference"]
        assert {(row["structure"], row["status"]) for row in listed} == {(name, "matched")}
        volumes[name] = [float(row["volume_ml"]) for row in listed]
    assert volumes["liver"] == pytest.approx([1.536, 0.006])
    assert volumes["tumour"] == pytest.approx([0.048, 0.006])


def test_without_a_lesion_there_is_no_table(tmp_path):
    empty = np.zeros(SHAPE, np.uint8)
    evaluated(tmp_path, *masks())
    assert (tmp_path / "out" / "lesions.csv").is_file()
    (case,) = evaluated(tmp_path, empty, empty)
    assert not (tmp_path / "out" / "lesions.csv").exists()
    assert (case.metrics[0].pq, case.lesions[0].sizes[0]) == (1, (0, 0, 0))
    (case,) = evaluated(tmp_path, empty, masks()[1])
    assert [row["status"] for row in table(tmp_path / "out" / "lesions.csv")] == ["false_positive"] * 3
    (case,) = evaluated(tmp_path, *masks(), groups=("overlap",))
    assert not (tmp_path / "out" / "lesions.csv").exists()


def test_thousands_of_specks_are_counted_listed_in_part_and_told(tmp_path):
    """Of 20480 lesions of a voxel every other one is predicted, 640 of them with a voxel too many; two are joined."""
    reference, prediction = np.zeros((2, 64, 64, 40), np.uint8)
    reference[::2, ::2, ::2] = reference[1, 0, 0] = 1
    prediction[::4, ::2, ::2] = prediction[3, ::2, ::2] = 1
    (case,) = evaluated(tmp_path, reference, prediction)
    (metrics,) = case.metrics
    assert (metrics.lesion_tp, metrics.lesion_fp, metrics.lesion_fn) == (10240, 0, 10239)
    assert (metrics.matched_tp, metrics.sq) == (10239 - 640, 1)
    assert metrics.cc_dice == pytest.approx((10239 + 2 / 5) / 20479)  # of two equally near the first is charged
    listed = table(tmp_path / "out" / "lesions.csv")
    assert [row["mask"] for row in listed].count("reference") == MOST_LISTED
    assert len(listed) == 2 * MOST_LISTED
    assert float(listed[0]["volume_ml"]) == pytest.approx(3 * 6 / 1000)
    assert sum(each.lesions for each in case.lesions[0].sizes) == 20479
    assert "reference.nii.gz: 20479 lesions of lesion, of which lesions.csv lists the 1000 largest" in metrics.message
    assert "prediction.nii.gz: 10240 lesions" in metrics.message
