"""model.json is enough to use a network: the program of docs/export.md follows it to our mask."""

import re
import shutil
import sys
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import torch

from segfocal.export.facts import facts, ports
from segfocal.export.onnx_network import OnnxNetwork
from segfocal.files import write_json
from segfocal.inference import bundle as bundles
from segfocal.inference.postprocess import PostprocessRules
from segfocal.inference.segment import segment
from segfocal.intensity import Percentiles
from segfocal.io import volumes
from segfocal.metrics import count
from segfocal.resample import ModelGrid
from tests import ROOT
from tests.export.bundles import STRUCTURES

PAGE = (ROOT / "docs" / "export.md").read_text()


def program():
    """Import the program of docs/export.md."""
    text = re.search(r"^`run_model.py`\n\n```python\n(.*?)```", PAGE, flags=re.S | re.M).group(1)
    module = type(sys)("run_model")
    exec(compile(text, "run_model.py", "exec"), module.__dict__)
    return module


VARIANTS = {
    "as exported": {},
    "own pixels": {"grid": ModelGrid(frame="LAI")},
    "one size": {"grid": ModelGrid(size=(48, 30))},
    "finer pixels": {"grid": ModelGrid(frame="ASR", spacing_mm=(1.0, 0.7))},
    "percentiles": {"intensity": Percentiles(low=2.0, high=98.0)},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_program_of_the_page_follows_model_json_to_the_same_mask(place, tmp_path, variant):
    bundle = replace(bundles.load(place / "bundle"), **VARIANTS[variant])
    shutil.copy(place / "onnx" / "model.onnx", tmp_path)
    session = OnnxNetwork(tmp_path / "model.onnx").session
    told = facts(bundle, overlap=0.5, folder=tmp_path, networks={"model.onnx": ports(session)})
    write_json(tmp_path / "model.json", told)
    with torch.no_grad():
        ours = segment(volumes.read(place / "scan.nii.gz"), bundle).array
    theirs = program().segment(tmp_path, nib.load(place / "scan.nii.gz"))
    for structure in STRUCTURES:
        # float64 against float32 turns a voxel here and there whose logits are nearly equal
        assert count(theirs, ours, structure.value).dice > 0.998


@pytest.mark.parametrize("value", [255, 256, 300, 32768, 65536])
def test_the_program_of_the_page_writes_large_label_values_as_they_are(place, tmp_path, value):
    own = (replace(STRUCTURES[0], value=value), STRUCTURES[1])
    bundle = replace(bundles.load(place / "bundle"), structures=own)
    shutil.copy(place / "onnx" / "model.onnx", tmp_path)
    write_json(tmp_path / "model.json", facts(bundle, overlap=0.0, folder=tmp_path, networks={}))
    scan = nib.load(place / "scan.nii.gz")
    mask = program().segment(tmp_path, scan)
    nib.save(nib.Nifti1Image(mask, scan.affine), tmp_path / "mask.nii.gz")
    read = volumes.read_labels(tmp_path / "mask.nii.gz").array
    assert sorted(np.unique(read)) == [0, 2, value]
    ours = segment(volumes.read(place / "scan.nii.gz"), bundle).array
    assert mask.dtype == ours.dtype


@pytest.mark.parametrize("grid", [ModelGrid(spacing_mm=(2.5, 1.5, 1.7)), ModelGrid(frame="ASR")], ids=["mm", "own"])
def test_the_program_of_the_page_follows_3d_windows_to_the_same_mask(volume_place, tmp_path, grid):
    bundle = replace(bundles.load(volume_place / "bundle"), grid=grid)
    shutil.copy(volume_place / "onnx" / "model.onnx", tmp_path)
    write_json(tmp_path / "model.json", facts(bundle, overlap=0.5, folder=tmp_path, networks={}))
    with torch.no_grad():
        ours = segment(volumes.read(volume_place / "scan.nii.gz"), bundle).array
    theirs = program().segment(tmp_path, nib.load(volume_place / "scan.nii.gz"))
    for structure in STRUCTURES:
        assert count(theirs, ours, structure.value).dice > 0.998


def test_rules_are_told_and_left_to_the_program(place, tmp_path):
    bundle = replace(bundles.load(place / "bundle"), postprocess={"dark": PostprocessRules(largest=True)})
    told = facts(bundle, overlap=0.25, folder=place / "onnx", networks={})
    assert told["postprocess"] == {
        "dark": {
            "largest": True,
            "minimum_mm3": 0.0,
            "holes_mm3": 0.0,
            "minimum_share": 0.0,
        }
    }
    assert told["overlap"] == 0.25
