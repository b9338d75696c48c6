"""A MONAI bundle: MONAI runs it to our mask, and it is as its metadata says."""

import json

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser, verify_net_in_out
from monai.data import MetaTensor

from segfocal.errors import UserError
from segfocal.export import monai_bundle
from segfocal.export.export import ExportOptions, export
from segfocal.inference import bundle as bundles
from segfocal.inference.segment import segment
from segfocal.intensity import Percentiles, Window
from segfocal.io import volumes
from segfocal.metrics import count as count_voxels
from segfocal.structure import Structure
from tests.export.bundles import BRIGHT, SAM, UNET, make_bundle, options_of


def parsed(folder, scan, output):
    """Parse a MONAI bundle's config as MONAI does."""
    parser = ConfigParser()
    parser.read_config(str(folder / "configs" / "inference.json"))
    parser["bundle_root"], parser["output_dir"], parser["datalist"] = str(folder), str(output), [str(scan)]
    parser.parse()
    return parser


@pytest.mark.parametrize("intensity", [Window(lower=-50.0, upper=150.0), Percentiles()], ids=["window", "percentiles"])
def test_monai_runs_its_bundle_to_our_mask(place, tmp_path, intensity):
    source = make_bundle(tmp_path / "bundle", intensity=intensity)
    report = export(options_of(place, tmp_path / "monai", bundle=source, format="monai_bundle"))
    assert report["logit_difference"] < 1e-3
    parser = parsed(tmp_path / "monai", place / "scan.nii.gz", tmp_path / "eval")
    sample = next(iter(parser.get_parsed_content("dataset")))
    network, inferer = (parser.get_parsed_content(name) for name in ("network", "inferer"))
    with torch.no_grad():
        sample["pred"] = inferer(sample["image"][None], network)[0]
    parser.get_parsed_content("postprocessing")(sample)
    written = nib.load(tmp_path / "eval" / "scan_seg.nii.gz")
    scan = nib.load(place / "scan.nii.gz")
    assert written.get_data_dtype() == np.uint8
    assert np.allclose(written.affine, scan.affine, atol=1e-3)
    theirs, bundle = np.asarray(written.dataobj), bundles.load(source)
    with torch.no_grad():
        ours = segment(volumes.read(place / "scan.nii.gz"), bundle).array
    for k, structure in enumerate(bundle.structures, start=1):
        # another low-pass filter and another floor of the window weights
        assert count_voxels((theirs == k).astype(int), (ours == structure.value).astype(int), 1).dice > 0.97


@pytest.mark.parametrize(("count", "kind"), [(2, np.uint8), (255, np.uint8), (256, np.uint16)])
def test_more_than_255_structures_are_written_in_two_bytes(place, tmp_path, count, kind):
    structures = tuple(Structure(name=f"part {k}", value=k) for k in range(1, count + 1))
    source = make_bundle(tmp_path / "bundle", UNET | {"classes": count}, structures=structures)
    monai_bundle.write(bundles.load(source), tmp_path / "monai", overlap=0.0)
    parser = parsed(tmp_path / "monai", place / "scan.nii.gz", tmp_path)
    save = parser.get_parsed_content("postprocessing").transforms[-1]
    image = MetaTensor(torch.full((1, 3, 4, 5), float(count)), meta={"filename_or_obj": "scan.nii.gz"})
    save({"pred": image})
    written = nib.load(tmp_path / "scan_seg.nii.gz")
    assert written.get_data_dtype() == kind
    assert (np.asarray(written.dataobj) == count).all()


@pytest.mark.parametrize(
    ("config", "names"), [(BRIGHT, ["bright", "dark"]), (SAM, ["bright"])], ids=["two", "sam_tiny"]
)
def test_the_network_of_a_monai_bundle_is_as_its_metadata_says(place, tmp_path, config, names):
    source = make_bundle(tmp_path / "bundle", config)
    export(options_of(place, tmp_path / "monai", bundle=source, format="monai_bundle"))
    configs = tmp_path / "monai" / "configs"
    verify_net_in_out(
        net_id="network_def",
        meta_file=str(configs / "metadata.json"),
        config_file=str(configs / "inference.json"),
        bundle_root=str(tmp_path / "monai"),
        device="cpu",
    )
    told = json.loads((configs / "metadata.json").read_text())
    channels = told["network_data_format"]["outputs"]["pred"]["channel_def"]
    assert list(channels.values()) == ["background", *names]
    network = torch.jit.load(tmp_path / "monai" / "models" / "model.ts")
    assert "Device = prim" not in str(network.inlined_graph)  # nothing in it asks for the CPU it was made on
    assert {"models/model.ts", "docs/README.md", "LICENSE", "parity.json"} <= {
        str(path.relative_to(tmp_path / "monai")) for path in (tmp_path / "monai").rglob("*")
    }


def test_a_model_that_needs_prompts_is_no_monai_bundle(place, tmp_path):
    source = make_bundle(tmp_path / "bundle", SAM, needs_prompts=True)
    with pytest.raises(UserError, match="format=onnx"):
        export(options_of(place, tmp_path / "out", bundle=source, format="monai_bundle"))


@pytest.mark.parametrize("given", [{"neighbours": 1, "window": (32, 32)}, {"channels": 3}])
def test_more_than_a_slice_of_one_channel_is_no_monai_bundle(place, tmp_path, given):
    make_bundle(tmp_path / "bundle", UNET | {"channels": 3}, **given)
    with pytest.raises(UserError, match=r"single slices of one channel.*format=onnx"):
        export(
            ExportOptions(
                bundle=tmp_path / "bundle", output=tmp_path / "out", scan=place / "scan.nii.gz", format="monai_bundle"
            )
        )
    assert not (tmp_path / "out").exists()
