"""The files of a prediction agree with each other, and none replaces an input."""

import json
import os
import shutil

import nibabel as nib
import numpy as np
import pytest

from segfocal.errors import UserError
from segfocal.predict.options import OutputOptions, PredictOptions, PromptOptions
from segfocal.predict.outputs import OutputFiles, check_outputs, report_path
from segfocal.predict.predict import predict
from segfocal.structure import Structure
from tests.random_bundle import image, make_bundle
from tests.scans import AFFINES, make_scan
from tests.system.commands import segfocal


def voxels(path):
    return np.asanyarray(nib.load(path).dataobj)


def test_probabilities_and_separate_masks_agree_with_the_mask(random_bundle, tmp_path, monkeypatch):
    scan = make_scan(tmp_path / "ct.nii.gz", image(2), AFFINES["oblique"])
    mask = tmp_path / "m.nii.gz"
    options = [f"bundle={random_bundle}", f"input={scan}", f"output={mask}", "probabilities=true", "separate=true"]
    assert segfocal(monkeypatch, "predict", *options) == 0
    labels = voxels(mask)
    liver, spleen = (voxels(tmp_path / f"m_{name}_probability.nii.gz") for name in ("liver", "spleen"))
    np.testing.assert_array_equal(voxels(tmp_path / "m_liver.nii.gz"), labels == 5)
    clear = (np.abs(liver - 0.5) > 1e-4) & (np.abs(spleen - 0.5) > 1e-4) & (np.abs(liver - spleen) > 1e-4)  # 16 bits
    expected = np.where(liver > spleen, np.where(liver > 0.5, 5, 0), np.where(spleen > 0.5, 1, 0))
    np.testing.assert_array_equal(labels[clear], expected[clear])
    assert nib.load(tmp_path / "m_liver_probability.nii.gz").affine == pytest.approx(nib.load(scan).affine)
    report = json.loads((tmp_path / "m.json").read_text())
    assert report["files"]["liver"] == ["m_liver.nii.gz", "m_liver_probability.nii.gz"]
    assert report["mean_intensity"]["liver"] == pytest.approx(voxels(scan)[labels == 5].mean(), abs=0.01)


@pytest.mark.parametrize("name", ["mask.nii.gz", "mask.nii", "mask.png", "mask.dcm"])
def test_what_belongs_to_a_mask_is_named_after_it(tmp_path, name):
    ending = name.removeprefix("mask")
    assert report_path(tmp_path / name) == tmp_path / "mask.json"
    files = OutputFiles.of(OutputOptions(mask=tmp_path / name, separate=True, probabilities=True), ["left kidney/2"])
    assert files.separate == (tmp_path / f"mask_left_kidney_2{ending}",)
    real = ending.replace(".dcm", ".nii.gz")  # a DICOM-SEG holds no probabilities
    assert files.probabilities == (tmp_path / f"mask_left_kidney_2_probability{real}",)


def test_structures_whose_names_would_give_one_file_are_told_apart(tmp_path):
    outputs = OutputOptions(mask=tmp_path / "m.nii.gz", separate=True, probabilities=True)
    files = OutputFiles.of(outputs, ["PTV 50", "PTV_50", "ptv_50", "PTV_50_2", "ptv 50 probability"])
    assert [path.name for path in files.separate] == [
        "m_PTV_50.nii.gz", "m_PTV_50_2.nii.gz", "m_ptv_50_3.nii.gz", "m_PTV_50_2_2.nii.gz",
        "m_ptv_50_probability.nii.gz",
    ]  # fmt: skip
    assert len({path.name.casefold() for path in files.all}) == 12


def test_structures_of_nearly_one_name_get_a_mask_each(tmp_path, monkeypatch):
    structures = (Structure(name="PTV 50", value=5), Structure(name="PTV_50", value=1))
    bundle = make_bundle(tmp_path / "bundle", structures=structures)
    scan = make_scan(tmp_path / "ct.nii.gz", image(2))
    options = [f"bundle={bundle}", f"input={scan}", f"output={tmp_path}/m.nii.gz", "separate=true"]
    assert segfocal(monkeypatch, "predict", *options) == 0
    labels = voxels(tmp_path / "m.nii.gz")
    np.testing.assert_array_equal(voxels(tmp_path / "m_PTV_50.nii.gz"), labels == 5)
    np.testing.assert_array_equal(voxels(tmp_path / "m_PTV_50_2.nii.gz"), labels == 1)
    files = json.loads((tmp_path / "m.json").read_text())["files"]
    assert files == {"PTV 50": ["m_PTV_50.nii.gz"], "PTV_50": ["m_PTV_50_2.nii.gz"]}


@pytest.mark.parametrize("mask", ["ct.nii.gz", "prompts.nii.gz"])
def test_no_input_is_replaced_whatever_is_allowed(tmp_path, mask):
    scan = make_scan(tmp_path / "ct.nii.gz", image(0))
    options = PredictOptions(
        bundles=(tmp_path / "bundle",),
        inputs=(scan,),
        outputs=OutputOptions(mask=tmp_path / mask, overwrite=True),
        prompts=PromptOptions(file=tmp_path / "prompts.json"),
    )
    with pytest.raises(UserError, match="the same file as input and output"):
        check_outputs(options)


@pytest.fixture
def place(random_bundle, tmp_path):
    """A folder with a bundle, a scan named as a structure's mask would be, and prompts that name a mask."""
    shutil.copytree(random_bundle, tmp_path / "bundle")
    for name in ("ct_liver.nii.gz", "drawn_spleen.nii.gz", "t2_liver_probability.nii.gz"):
        make_scan(tmp_path / name, image(0))
    (tmp_path / "linked").symlink_to(tmp_path)
    (tmp_path / "link.nii.gz").symlink_to(tmp_path / "ct_liver.nii.gz")
    os.link(tmp_path / "ct_liver.nii.gz", tmp_path / "hard.nii.gz")
    entries = [{"structure": "liver", "mask": "drawn_spleen.nii.gz", "value": 1}]
    (tmp_path / "prompts.json").write_text(json.dumps({"space": "voxel", "prompts": entries}))
    return tmp_path


@pytest.mark.parametrize(
    ("output", "switches"),
    [
        ("ct.nii.gz", {"separate": True}),
        ("linked/ct.nii.gz", {"separate": True}),
        ("bundle/../ct.nii.gz", {"separate": True}),
        ("t2.nii.gz", {"probabilities": True}),  # the second channel
        ("link.nii.gz", {}),
        ("hard.nii.gz", {}),
        ("drawn.nii.gz", {"separate": True}),  # a mask that the prompts name
        ("prompts.nii.gz", {}),  # its report would be the prompts
        ("bundle/bundle.nii.gz", {}),
    ],
)
def test_no_output_of_any_kind_is_an_input_whatever_is_allowed(place, output, switches):
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    options = PredictOptions(
        bundles=(place / "bundle",),
        inputs=(place / "ct_liver.nii.gz", place / "t2_liver_probability.nii.gz"),
        outputs=OutputOptions(mask=place / output, overwrite=True, **switches),
        prompts=PromptOptions(file=place / "prompts.json"),
    )
    with pytest.raises(UserError, match="the same file as input and output"):
        predict(options)
    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before


def test_outputs_that_a_link_makes_one_file_are_refused(place):
    (place / "m_liver.nii.gz").symlink_to(place / "m.nii.gz")
    outputs = OutputOptions(mask=place / "m.nii.gz", overwrite=True, separate=True)
    options = PredictOptions(bundles=(place / "bundle",), inputs=(place / "ct_liver.nii.gz",), outputs=outputs)
    with pytest.raises(UserError, match=r"m.nii.gz for two of them"):
        predict(options)


def test_a_mask_of_a_structure_that_is_there_is_told_before_the_work(place):
    (place / "m_spleen.nii.gz").write_bytes(b"drawn by hand")
    outputs = OutputOptions(mask=place / "m.nii.gz", separate=True)
    options = PredictOptions(bundles=(place / "bundle",), inputs=(place / "ct_liver.nii.gz",), outputs=outputs)
    with pytest.raises(UserError, match="an output that does not exist yet"):
        check_outputs(options)
    assert not (place / "m.nii.gz").exists()
