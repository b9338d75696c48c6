"""From a scan on disk to a mask on disk: ours against MONAI's inferers and a loop over slices, the same network.

One scan (data/demo's ct_b, its slices repeated), the same network, windows, Gaussian weights and batch size; each
contender reads the .nii.gz, segments every voxel and writes a uint8 .nii.gz. Each runs in a process of its own, in
turns. Prints seconds, the ratio to ours and the peak of resident memory beyond the input volume (int16); writes JSON
under benchmarks/results.

    ours              predict's parts: ModelInput, Predictor, a label map that grows on disk; isal for gzip
    ours, compiled    the same with compile=true, its compilation (counted) included
    monai             LoadImage, ScaleIntensityRange, SlidingWindowInferer on the slices as a batch, argmax, nibabel
    loop              the same, a slice at a time (SliceInferer), its mask kept

    python benchmarks/inference.py [--networks sam_tiny unet] [--slices 300] [--side 512] [--classes 1]
                                   [--contenders ours monai loop] [--overlap 0.25] [--repeats 1]
                                   [--device cpu] [--blend-on cpu] [--memory]

--memory puts a network that costs nothing in place of the real one: memory, and the overhead of everything else.
"""

import argparse
import json
import multiprocessing
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from importlib.metadata import version
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from torch import nn

from segfocal import models
from segfocal.inference.bundle import Bundle
from segfocal.inference.predictor import Predictor
from segfocal.inference.segment import label_type, segment_with
from segfocal.inference.sliding.sliding_options import SlidingOptions
from segfocal.intensity import Window
from segfocal.io import nifti
from segfocal.io.scratch import scratch_array
from segfocal.memory import forget_peak, peak_gib
from segfocal.resample import ModelGrid
from segfocal.structure import Structure

WINDOW, BATCH = 128, 8
LOWER, UPPER = -160.0, 240.0
DEMO = Path(__file__).parents[1] / "data" / "demo" / "ct_b_image.nii.gz"


class Free(nn.Module):
    """A network that costs nothing: the image, once for each class."""

    def __init__(self, classes):
        super().__init__()
        self.shift = nn.Parameter(torch.arange(classes).float().reshape(-1, 1, 1) / 10 - 0.5)

    def forward(self, x):
        return x + self.shift


def network_of(asked):
    torch.manual_seed(0)
    if asked.memory:
        return Free(asked.classes).eval()
    if asked.network == "sam_tiny":
        return models.sam_tiny().eval()
    return models.UNet(classes=asked.classes).eval()


def bundle_of(network, classes):
    """Return a network with the windows and intensities that every contender has."""
    return Bundle(
        model=network,
        model_config={},
        grid=ModelGrid(),
        window=(WINDOW, WINDOW),
        intensity=Window(lower=LOWER, upper=UPPER),
        structures=tuple(Structure(name=str(k), value=k) for k in range(1, classes + 1)),
        training={},
    )


def ours(scan, mask, network, asked):
    bundle = bundle_of(network, asked.classes)
    sliding = SlidingOptions(overlap=asked.overlap, batch_size=BATCH, compile=asked.contender == "ours, compiled")
    predictor = Predictor([bundle], sliding=sliding, device=asked.device)
    volume = nifti.read_stored(scan)
    with scratch_array(mask.parent, volume.grid.shape, label_type(bundle.structures)) as out:
        nifti.write(mask, segment_with(predictor, volume, out=out), like=scan)


@torch.no_grad()
def monai(scan, mask, network, asked):
    from monai.inferers import SliceInferer, SlidingWindowInferer
    from monai.transforms import LoadImage, ScaleIntensityRange

    network = network.to(asked.device)
    image = LoadImage(ensure_channel_first=True)(scan)
    image = ScaleIntensityRange(LOWER, UPPER, 0.0, 1.0, clip=True)(image).as_tensor().to(asked.blend_on)  # [1,x,y,z]
    options = {"sw_batch_size": BATCH, "overlap": asked.overlap, "mode": "gaussian", "sw_device": asked.device}
    if asked.contender == "monai":
        inferer = SlidingWindowInferer((WINDOW, WINDOW), device=asked.blend_on, **options)
        slices = image.permute(3, 0, 2, 1)  # [z,1,h,w], as ours
        logits = inferer(slices, network)
        labels = labelled(logits).permute(2, 1, 0)
    else:
        inferer = SliceInferer(spatial_dim=2, roi_size=(WINDOW, WINDOW), device=asked.blend_on, **options)
        labels = torch.stack(
            [labelled(inferer(image[None, ..., z : z + 1], network)[..., 0])[0] for z in range(image.shape[-1])], dim=2
        )
    source = nib.load(scan)
    nib.save(nib.Nifti1Image(labels.cpu().numpy(), source.affine, dtype=np.uint8), mask)


def labelled(logits):
    """Return uint8 labels [n,h,w] of logits [n,k,h,w]: the largest above 0."""
    top, channel = logits.max(dim=1)
    return torch.where(top > 0, channel + 1, 0).to(torch.uint8)


def make_scan(folder, slices, side):
    source = nib.load(DEMO)
    array = np.asanyarray(source.dataobj)
    array = np.tile(array, (1, 1, -(-slices // array.shape[2])))[:side, :side, :slices]
    path = Path(folder) / "scan.nii.gz"
    nib.save(nib.Nifti1Image(np.asfortranarray(array), source.affine, header=source.header), path)
    return path


def run(asked, scan, mask, queue):
    torch.set_num_threads(asked.threads)
    network = network_of(asked)
    contender = ours if asked.contender.startswith("ours") else monai
    warm = make_scan(mask.parent, 1, 256)
    once = argparse.Namespace(**{**vars(asked), "contender": asked.contender.split(",")[0]})
    contender(warm, mask.with_name("warm.nii.gz"), network, once)
    forget_peak()
    before, begun = peak_gib(), time.perf_counter()
    contender(scan, mask, network, asked)
    seconds = time.perf_counter() - begun
    voxels = np.prod(nib.load(scan).shape)
    queue.put({"seconds": seconds, "beyond_gib": peak_gib() - before - voxels * 2 / 2**30})


def measure(asked, scan, folder):
    """Return rows of seconds and memory by contender; they take turns, each in a process of its own."""
    context = multiprocessing.get_context("spawn")
    rows = {name: {"seconds": [], "beyond_gib": []} for name in asked.contenders}
    masks = {}
    for turn in range(asked.repeats):
        for name, row in rows.items():
            asked.contender = name
            place = Path(folder) / f"{name.replace(', ', '_')}_{turn}"
            place.mkdir()
            queue = context.Queue()
            process = context.Process(target=run, args=(asked, scan, place / "mask.nii.gz", queue))
            process.start()
            for key, value in queue.get().items():
                row[key].append(value)
            process.join()
            masks[name] = place / "mask.nii.gz"
    first = np.asanyarray(nib.load(masks[asked.contenders[0]]).dataobj)
    for name, row in rows.items():
        other = np.asanyarray(nib.load(masks[name]).dataobj)
        row["median"] = statistics.median(row["seconds"])
        row["differing_voxels"] = float((first != other).mean())
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    choices = ("ours", "ours, compiled", "monai", "loop")
    parser.add_argument("--networks", nargs="+", default=["sam_tiny", "unet"], choices=("sam_tiny", "unet"))
    parser.add_argument("--contenders", nargs="+", default=list(choices), choices=choices)
    for option, default in (("slices", 300), ("side", 512), ("classes", 1), ("repeats", 1)):
        parser.add_argument(f"--{option}", type=int, default=default)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--overlap", type=float, default=0.25, help="share of a window; 0.25 is MONAI's default")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--blend-on", default="cpu", help="where MONAI holds the scan and its logits")
    parser.add_argument("--memory", action="store_true")
    asked = parser.parse_args()
    where = torch.cuda.get_device_name() if asked.device != "cpu" else f"CPU, {asked.threads} threads"
    made = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    for name in ["free"] if asked.memory else asked.networks:
        asked.network = name
        with tempfile.TemporaryDirectory() as folder:
            rows = measure(asked, make_scan(folder, asked.slices, asked.side), folder)
        work = f"{asked.slices} slices of {asked.side}×{asked.side}, window {WINDOW}, overlap {asked.overlap}, {name}, "
        work += f"{asked.classes} classes"
        print(f"\n{work}, {where}, {asked.repeats} repeats")
        for contender, row in rows.items():
            ratio = row["median"] / rows[asked.contenders[0]]["median"]
            beyond = statistics.median(row["beyond_gib"])
            line = f"{contender:16}{row['median']:9.1f} s{ratio:8.2f} ×{beyond:9.2f} GiB beyond the volume"
            print(f"{line}{row['differing_voxels']:10.1e} of voxels differ")
        facts = {"date": str(date.today()), "machine": f"{platform.machine()}, {where}", "work": work}
        facts |= {"torch": torch.__version__, "monai": version("monai"), "command": " ".join(["python", *sys.argv])}
        facts |= {"commit": made.stdout.strip() or "unknown", "rows": rows}
        device = "cpu" if asked.device == "cpu" else "cuda"
        out = f"inference_{device}_{name}_{asked.slices}x{asked.side}_{asked.classes}.json"
        (Path(__file__).parent / "results" / out).write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
