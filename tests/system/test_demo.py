"""`make demo` on the real scans, with a few steps of training on coarse pixels."""

import csv
import re

import nibabel as nib
import numpy as np
import pytest

from segfocal.cli.app import demo_data
from tests.system.commands import segfocal


@pytest.mark.pictures
def test_the_demo_writes_masks_figures_and_one_self_contained_page(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "demo"
    options = ["train.steps=3", "train.batch_size=2", f"hydra.run.dir={folder}", f"cache={tmp_path / 'prepared'}"]
    options += ["data.spacing_mm=[6,6]", "data.window=[64,64]"]
    assert segfocal(monkeypatch, "demo", *options) == 0
    last = capsys.readouterr().out.strip().splitlines()[-5:]
    assert last[2].startswith("report:")
    assert re.fullmatch(r"liver Dice, no prompt: \d\.\d{3}", last[3])
    assert re.fullmatch(r"liver Dice, box: \d\.\d{3}", last[4])

    scan = nib.load(f"{demo_data()}/ct_b_image.nii.gz")
    for name in ("ct_b_mask", "ct_b_mask_box"):
        mask = nib.load(folder / f"{name}.nii.gz")
        assert mask.shape == scan.shape
        assert np.array_equal(mask.affine, scan.affine)
        row = next(csv.DictReader((folder / f"{name}_evaluation" / "metrics.csv").open()))
        assert row["structure"] == "liver"
        shown = next(line for line in last if ("box" in line) == ("box" in name) and "Dice" in line)
        assert f"{float(row['dice']):.3f}" in shown

    page = (folder / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 3
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    assert "segfocal predict bundle=" in page
    assert "TotalSegmentator" in page
