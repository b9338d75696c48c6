"""A MONAI bundle: a folder that MONAI, MONAI Label and 3D Slicer run without segfocal.

The network is a TorchScript file; pre- and post-processing are MONAI's own transforms, written as its JSON configs.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import segfocal
from segfocal.files import make_folder, write_json, write_text
from segfocal.inference.bundle import Bundle
from segfocal.inference.sliding.windows import SIGMA_SHARE
from segfocal.intensity import FEW, TIMES, Window, of_first
from segfocal.models.portable import write_torchscript

NETWORK = "models/model.ts"
FILES = (NETWORK, "configs/metadata.json", "configs/inference.json", "docs/README.md", "LICENSE")
_SCHEMA = "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"
_LAMBDA = "Lambdad"
_EDGES = {"scale_extent": True, "align_corners": True}  # the edges of the outermost pixels stay where they are


def write(bundle: Bundle, folder: Path, *, overlap: float) -> nn.Module:
    """Write a MONAI bundle into `folder`; return its network, as read back, with the outputs of the bundle's own."""
    for name in ("configs", "models", "docs"):
        make_folder(folder / name)
    write_torchscript(bundle.model, folder / NETWORK, bundle.window)
    write_json(folder / "configs" / "metadata.json", _metadata(bundle))
    write_json(folder / "configs" / "inference.json", _inference(bundle, overlap))
    write_text(folder / "docs" / "README.md", _readme(bundle))
    write_text(folder / "LICENSE", _LICENSE)
    return _WithoutBackground(torch.jit.load(str(folder / NETWORK), map_location="cpu"))


class _WithoutBackground(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        return self.network(image)[:, 1:]


def _metadata(bundle: Bundle) -> dict[str, Any]:
    """Return the facts of MONAI's metadata schema: among them what goes into the network and comes out."""
    names = [structure.name for structure in bundle.structures]
    shape, dtype = list(bundle.window), "float32"
    image = {
        "type": "image",
        "format": "magnitude",
        "modality": "n/a",
        "num_channels": 1,
        "spatial_shape": shape,
        "dtype": dtype,
        "value_range": [0, 1],
        "is_patch_data": True,
        "channel_def": {"0": "image"},
    }
    prediction = {
        "type": "image",
        "format": "segmentation",
        "num_channels": len(names) + 1,
        "spatial_shape": shape,
        "dtype": dtype,
        "value_range": [],
        "is_patch_data": True,
        "channel_def": {"0": "background", **{str(k): name for k, name in enumerate(names, start=1)}},
    }
    return {
        "schema": _SCHEMA,
        "version": "0.1.0",
        "changelog": {"0.1.0": f"exported by segfocal {segfocal.__version__}"},
        "monai_version": _version("monai"),
        "pytorch_version": torch.__version__.split("+")[0],
        "numpy_version": np.__version__,
        "required_packages_version": {"nibabel": _version("nibabel"), "pytorch-ignite": "0.5.1", "fire": "0.6.0"},
        "name": f"segfocal: {', '.join(names)}",
        "task": f"segmentation of {', '.join(names)}, slice by slice",
        "description": "A two-dimensional network that slides over the slices of a volume. See docs/README.md.",
        "authors": "whoever trained it",
        "copyright": "see LICENSE",
        "intended_use": "research; not a medical device",
        "label_values": {s.name: {"here": k, "segfocal": s.value} for k, s in enumerate(bundle.structures, start=1)},
        "network_data_format": {"inputs": {"image": image}, "outputs": {"pred": prediction}},
    }


def _inference(bundle: Bundle, overlap: float) -> dict[str, Any]:
    """Return the config that `python -m monai.bundle run` runs."""
    return {
        "imports": ["$import glob", "$import os", "$import numpy as np", "$import monai"],
        "bundle_root": ".",
        "dataset_dir": "$@bundle_root + '/data'",
        "output_dir": "$@bundle_root + '/eval'",
        "datalist": "$sorted(glob.glob(os.path.join(@dataset_dir, '*.nii*')))",
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "network_def": {
            "_target_": "torch.jit.load",
            "f": "$os.path.join(@bundle_root, 'models', 'model.ts')",
            "map_location": "@device",
        },
        "network": "@network_def",
        "preprocessing": {"_target_": "Compose", "transforms": _preprocessing(bundle)},
        "dataset": {
            "_target_": "Dataset",
            "data": "$[{'image': path} for path in @datalist]",
            "transform": "@preprocessing",
        },
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1, "num_workers": 0},
        "inferer": {
            "_target_": "SliceInferer",
            "roi_size": list(bundle.window),
            "sw_batch_size": 8,
            "spatial_dim": 0,
            "overlap": overlap,
            "mode": "gaussian",
            "sigma_scale": SIGMA_SHARE,
        },
        "postprocessing": {"_target_": "Compose", "transforms": _postprocessing(len(bundle.structures))},
        "evaluator": {
            "_target_": "SupervisedEvaluator",
            "device": "@device",
            "val_data_loader": "@dataloader",
            "network": "@network",
            "inferer": "@inferer",
            "postprocessing": "@postprocessing",
        },
        "run": ["$@evaluator.run()"],
    }


def _preprocessing(bundle: Bundle) -> list[dict[str, Any]]:
    """Return MONAI's transforms from a file to images in [0,1] on the model's grid."""
    keys = {"keys": "image"}
    steps: list[dict[str, Any]] = [
        {"_target_": "LoadImaged", **keys},
        {"_target_": "EnsureChannelFirstd", **keys},
        {"_target_": "EnsureTyped", **keys, "dtype": "$torch.float32"},
        {"_target_": "Orientationd", **keys, "axcodes": bundle.grid.frame},
    ]
    if bundle.grid.spacing_mm is not None:
        h, w = bundle.grid.spacing_mm[-2:]
        pixdim = [-1.0, h, w]  # −1: the slice axis stays
        steps.append({"_target_": _LAMBDA, **keys, "func": _low_pass(h, w)})
        steps.append({"_target_": "Spacingd", **keys, "pixdim": pixdim, "mode": "bilinear", **_EDGES})
    elif bundle.grid.size is not None:
        steps.append({"_target_": "Resized", **keys, "spatial_size": [-1, *bundle.grid.size], "mode": "bilinear"})
    return [*steps, _intensity(bundle)]


def _low_pass(h: float, w: float) -> str:
    """Return the Gaussian that makes bilinear sampling spread as far as the antialiased one does.

    A triangle r pixels wide has the variance r²/6, bilinear interpolation 1/6: the Gaussian supplies the rest.
    """
    wanted = f"zip(({h}, {w}), image.pixdim[1:])"
    sigma = f"[1e-3] + [max(1e-6, (max(1.0, mm / float(now)) ** 2 - 1) / 6) ** 0.5 for mm, now in {wanted}]"
    return f"$lambda image: monai.transforms.GaussianSmooth(sigma={sigma})(image)"


def _intensity(bundle: Bundle) -> dict[str, Any]:
    keys, intensity = {"keys": "image"}, of_first(bundle.intensity)
    if isinstance(intensity, Window):
        window = {"a_min": intensity.lower, "a_max": intensity.upper, "b_min": 0.0, "b_max": 1.0}
        return {"_target_": "ScaleIntensityRanged", **keys, **window, "clip": True}
    values = f"map(float, np.quantile(image, {list(FEW)}, method='lower'))"
    many = f"int((image == v).sum()) >= {TIMES} * int((image < v).sum())"
    air = f"next((v for v in {values} if {many}), float(image.min()))"  # as intensity.air_of
    body = f"np.percentile(image[image > {air}], [{intensity.low}, {intensity.high}])"
    scale = f"monai.transforms.ScaleIntensityRange(*map(float, {body}), 0.0, 1.0, clip=True)"
    return {"_target_": _LAMBDA, **keys, "func": f"$lambda image: {scale}(image)"}


def _postprocessing(structures: int) -> list[dict[str, Any]]:
    """Return MONAI's transforms from logits on the model's grid to a label map in the scan's, of 0 to `structures`."""
    keys = {"keys": "pred"}
    back = {"transform": "@preprocessing", "orig_keys": "image", "nearest_interp": False, "to_tensor": True}
    save = {
        "output_dir": "@output_dir",
        "output_postfix": "seg",
        "output_dtype": f"$np.{np.min_scalar_type(structures)}",
    }
    return [
        {"_target_": "Invertd", **keys, **back},
        {"_target_": "AsDiscreted", **keys, "argmax": True},
        {"_target_": "SaveImaged", **keys, **save, "separate_folder": False, "resample": False},
    ]


def _readme(bundle: Bundle) -> str:
    rows = [f"| {k} | {s.name} | {s.value} |" for k, s in enumerate(bundle.structures, start=1)]
    left_out = [name for name, rule in bundle.postprocess.items() if rule.removes or rule.holes_mm3]
    lines = [
        f"# {', '.join(structure.name for structure in bundle.structures)}",
        "",
        f"A two-dimensional network, exported from a segfocal {segfocal.__version__} bundle. Scans go into `data/`:",
        "",
        "    python -m monai.bundle run --config_file configs/inference.json --bundle_root .",
        "",
        "writes label maps to `eval/` with the scans' own geometry (pip install 'monai[fire,ignite,nibabel]').",
        "",
        "| value | structure | value in segfocal |",
        "|---|---|---|",
        *rows,
        "",
        "`models/model.ts` is a TorchScript file: the weights and a recorded program of tensor operations, read by",
        "`torch.jit.load`. No Python of the author's runs. `configs/inference.json` does hold Python expressions, the",
        "strings that begin with `$`, as every MONAI bundle: read them before you run a bundle from a stranger.",
        "",
        "Images [b,1,h,w] in [0,1] become logits [b,k+1,h,w]; channel 0 is background, always 0.",
        "",
        "Where slices shrink, segfocal filters with a widened triangle, this bundle with a Gaussian of the same width;",
        "and MONAI floors the product of the window weights where segfocal floors each axis. Masks differ a little at",
        "borders.",
    ]
    if left_out:
        lines += ["", f"The post-processing that segfocal does for {', '.join(left_out)} is left out here."]
    return "\n".join(lines) + "\n"


_LICENSE = """\
The configs were written by segfocal, which is under the Apache License 2.0 (https://www.apache.org/licenses/LICENSE-2.0).
The weights in models/ belong to whoever trained them, under terms that depend on them and on the training data:
replace this note by those terms before you pass the bundle on.
"""


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
