"""Metrics of masks in memory are those of the command, and those that can be counted by hand."""

import csv

import nibabel as nib
import numpy as np
import pytest

import segfocal
from segfocal.errors import UserError
from tests.scans import affine_of, make_scan
from tests.system.commands import segfocal as command

AFFINE = affine_of(spacing_mm=(1.5, 1.0, 2.0), axes="LPS")


@pytest.fixture(scope="module")
def masks():
    """A cube of 4³ voxels and the same moved by one along the first axis: 48 voxels in both, 16 in each alone."""
    first, second = np.zeros((2, 12, 11, 9), np.uint8)
    first[2:6, 3:7, 2:6] = 5
    second[3:7, 3:7, 2:6] = 5
    return first, second


def test_dice_of_moved_cubes_is_three_quarters(masks):
    (row,) = segfocal.metrics.evaluate(*masks, affine=AFFINE)
    assert row["dice"] == 2 * 48 / (64 + 64)
    assert (row["tp"], row["fp"], row["fn"]) == (48, 16, 16)
    assert row["reference_ml"] == pytest.approx(64 * 3.0 / 1000)
    assert row["hd_mm"] == pytest.approx(1.5)
    assert row["structure"] == "label_5"


def test_rows_are_those_of_the_command(masks, tmp_path, monkeypatch):
    prediction, reference = (make_scan(tmp_path / f"{n}.nii.gz", mask, AFFINE) for n, mask in enumerate(masks))
    options = (f"prediction={prediction}", f"reference={reference}", f"output={tmp_path / 'out'}", "labels={liver: 5}")
    assert command(monkeypatch, "evaluate", *options) == 0
    with (tmp_path / "out" / "metrics.csv").open() as file:
        (written,) = csv.DictReader(file)
    (of_files,) = segfocal.metrics.evaluate(prediction, str(reference), labels={"liver": 5})
    (of_images,) = segfocal.metrics.evaluate(nib.load(prediction), nib.load(reference), labels={"liver": 5})
    turned = nib.as_closest_canonical(nib.load(prediction))
    (of_turned,) = segfocal.metrics.evaluate(turned, reference, labels={"liver": 5})
    for row in (of_files, of_images, of_turned):
        for name in ("structure", "dice", "hd95_mm", "assd_mm", "nsd", "lesion_f1", "pq", "volume_difference_ml", "tn"):
            assert str(row[name]) == written[name] or float(written[name]) == pytest.approx(row[name]), name


def test_ignored_voxels_count_for_neither(masks):
    first, second = (mask.copy() for mask in masks)
    second[first != second] = 9  # where they differ, nothing is known
    (row,) = segfocal.metrics.evaluate(first, second, affine=AFFINE, ignore=9, groups=["overlap"])
    assert (row["dice"], row["tp"]) == (1.0, 48)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"affine": None}, "expected affine= for an array"),
        ({"lesion_iou": 2}, "lesion_iou"),
        ({"lesion_ious": 0.5}, "lesion_ious"),
    ],
)
def test_wrong_options_are_one_line(masks, options, message):
    with pytest.raises(UserError, match=message):
        segfocal.metrics.evaluate(*masks, **({"affine": AFFINE} | options))


def test_masks_elsewhere_or_none_are_one_line(masks):
    elsewhere = nib.Nifti1Image(masks[0], AFFINE @ np.diag([1.0, 1.0, 2.0, 1.0]))
    with pytest.raises(UserError, match="a prediction on the grid of its reference"):
        segfocal.metrics.evaluate(elsewhere, nib.Nifti1Image(masks[1], AFFINE))
    with pytest.raises(UserError, match="whole numbers"):
        segfocal.metrics.evaluate(masks[0] + 0.5, masks[1], affine=AFFINE)
