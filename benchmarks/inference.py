"""From a scan on disk to a mask on disk: ours against MONAI's inferers and a loop over slices, the same network.

One scan (data/demo's ct_b, its slices repeated), the same network, windows, Gaussian weights and batch size; each
contender reads the .nii.gz, segments every voxel and writes a uint8 .nii.gz. Each runs in a process of its own, in
turns. Prints seconds, the ratio to ours and the peak of resident memory beyond the input volume (int16); writes JSON
under benchmarks/results.

    ours              predict's parts, engine=auto: ModelInput, Predictor, a label map that grows on disk; isal for gzip
    ours, torch       the same with engine=torch; its mask is the one that others' Dice is measured against
    ours, bf16        the same as ours with precision=bf16
    ours, onnxruntime the same with engine=onnxruntime
    ours, compiled    the same with compile=true, its compilation (counted) included
    monai             torch's own layers; LoadImage, ScaleIntensityRange, SlidingWindowInferer on the slices as a
                      batch, argmax, nibabel; of 3-D windows on the volume
    loop              the same, a slice at a time (SliceInferer), its mask kept; of 2-D windows only

    python benchmarks/inference.py [--networks sam_tiny unet unet_3d] [--slices 300] [--side 512] [--classes 1]
                                   [--contenders ours monai loop] [--overlap 0.25] [--repeats 1] [--threads 2]
                                   [--device cpu] [--blend-on cpu] [--memory] [--profile [--spacing 1.5]]

An engine converts the network in the first run and finds it kept in later ones. The seconds are of a later run, in
which the network is loaded and compiled; what the first one takes beyond that is shown apart.

--memory puts a network that costs nothing in place of the real one: memory, and the overhead of everything else.

--profile measures no contenders but the stages of predict itself, after the bundle is loaded: seconds of each without
those of the stages inside it, and in which thread. Medians of --repeats; nothing is written.
"""

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from datetime import date
from functools import wraps
from importlib.metadata import version
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from torch import nn

from segfocal import models
from segfocal.inference import bundle as bundles
from segfocal.inference import labelling, segment
from segfocal.inference.bundle import Bundle
from segfocal.inference.predictor import Predictor
from segfocal.inference.segment import label_type, segment_with
from segfocal.inference.sliding import sweep
from segfocal.inference.sliding.model_input import ModelInput
from segfocal.inference.sliding.sliding_options import SlidingOptions
from segfocal.intensity import Window
from segfocal.io import nifti, volumes
from segfocal.io.nifti import reader
from segfocal.io.scratch import scratch_array
from segfocal.memory import forget_peak, peak_gib
from segfocal.models import quick_linear
from segfocal.predict import predict, structure_sizes
from segfocal.predict.options import OutputOptions, PredictOptions
from segfocal.predict.structure_sizes import StructureSizes
from segfocal.resample import ModelGrid
from segfocal.structure import Structure

WINDOWS = {"unet_3d": (96, 96, 96)}
WINDOW, BATCH, BATCH_3D = (128, 128), 8, 2
CONFIGS = {
    "sam_tiny": {"_target_": "segfocal.models.sam_tiny"},
    "unet": {"_target_": "segfocal.models.UNet"},
    "unet_3d": {"_target_": "segfocal.models.UNet", "dims": 3},
}
ENGINES = {"ours": "auto", "ours, torch": "torch", "ours, onnxruntime": "onnxruntime", "ours, compiled": "torch"}
ENGINES["ours, bf16"] = "auto"
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
        return Free(asked.classes).eval(), {}
    config = CONFIGS[asked.network] | ({} if asked.network == "sam_tiny" else {"classes": asked.classes})
    return models.build(config).eval(), config


def window_of(asked):
    return WINDOWS.get(asked.network, WINDOW)


def batch_of(asked):
    return BATCH if len(window_of(asked)) == 2 else BATCH_3D


def bundle_of(network, config, asked):
    return Bundle(
        model=network,
        model_config=config,
        grid=ModelGrid(spacing_mm=asked.spacing and (asked.spacing, asked.spacing)),
        window=window_of(asked),
        intensity=Window(lower=LOWER, upper=UPPER),
        structures=tuple(Structure(name=str(k), value=k) for k in range(1, asked.classes + 1)),
        training={},
    )


def ours(scan, mask, network, asked):
    """Segment as predict does; return the seconds until the networks are ready, and what runs them."""
    begun = time.perf_counter()
    predictor = predictor_of(network, asked, mask.parent / "bundle")
    ready = time.perf_counter() - begun
    volume = nifti.read_stored(scan)
    with scratch_array(mask.parent, volume.grid.shape, label_type(predictor.bundle.structures)) as out:
        nifti.write(mask, segment_with(predictor, volume, out=out), like=scan)
    return ready, ", ".join(predictor.engines)


def predictor_of(network, asked, folder):
    bundle = bundles.load(folder) if folder.is_dir() else bundle_of(*network, asked)
    sliding = SlidingOptions(
        overlap=asked.overlap,
        batch_size=batch_of(asked),
        compile=asked.contender == "ours, compiled",
        engine=ENGINES[asked.contender] if asked.device == "cpu" else "torch",
        precision="bf16" if asked.contender == "ours, bf16" else "fp32",
    )
    return Predictor([bundle], sliding=sliding, device=asked.device)


STAGES = (  # of predict, in the order they come
    ("file read and unpacked", reader, "read_voxels"),
    ("slices turned, resized, scaled", ModelInput, "slices"),
    ("windows cut", sweep._Rolling, "windows"),
    ("network", Predictor, "network"),
    ("windows blended", sweep._Buffer, "add"),
    ("logits to the scan's pixels", labelling, "resized"),
    ("labels", segment, "label_slab"),
    ("post-processing", segment, "_cleaned"),
    ("values judged", predict, "foreign_intensities"),
    ("mask written", predict, "write_outputs"),
    ("structures measured", StructureSizes, "of"),
    ("components counted", structure_sizes, "count_components"),
)


class Stages:
    """Seconds of functions, without those of the others that they call, by stage and whether in another thread."""

    def __init__(self):
        self.seconds = defaultdict(float)
        self.main, self.own = threading.current_thread(), threading.local()
        for stage, owner, name in STAGES:
            setattr(owner, name, self.timed(stage, getattr(owner, name)))

    def timed(self, stage, function):
        @wraps(function)
        def timed(*given, **named):
            inside = self.own.__dict__.setdefault("inside", [0.0])
            inside.append(0.0)
            begun = time.perf_counter()
            try:
                return function(*given, **named)
            finally:
                taken = time.perf_counter() - begun
                self.seconds[stage, threading.current_thread() is not self.main] += taken - inside.pop()
                inside[-1] += taken

        return timed


def profile(asked, scan, folder):
    """Predict a few times as the command does and print what each stage takes."""
    torch.set_num_threads(asked.threads)
    asked.contender, stages, rounds = "ours, torch", Stages(), []
    predictor = predictor_of(network_of(asked), asked, Path(folder) / "none")
    for turn in range(asked.repeats + 1):
        outputs = OutputOptions(mask=Path(folder) / f"mask_{turn}.nii.gz")
        options = PredictOptions(bundles=(Path(folder),), inputs=(scan,), outputs=outputs, device=predictor.device)
        stages.seconds.clear()
        begun = time.monotonic()
        found = predict.segment_scan(predictor, options, volumes.read_channels(options.inputs))
        predict.write_prediction(predictor, options, found, started=begun)
        rounds.append({**stages.seconds, ("in all", False): time.monotonic() - begun})
    rounds = rounds[1:]  # the first one warms up
    median = {key: statistics.median(one.get(key, 0.0) for one in rounds) for key in rounds[-1]}
    whole = median.pop(("in all", False))
    median["the rest", False] = whole - sum(seconds for (_, beside), seconds in median.items() if not beside)
    order = [stage for stage, _, _ in STAGES] + ["the rest"]
    for (stage, beside), seconds in sorted(median.items(), key=lambda item: order.index(item[0][0])):
        print(f"{stage:34}{seconds:9.3f} s{100 * seconds / whole:7.1f} %{'  beside' * beside}")
    print(f"{'in all':34}{whole:9.3f} s")


@torch.no_grad()
def monai(scan, mask, network, asked):
    from monai.inferers import SliceInferer, SlidingWindowInferer
    from monai.transforms import LoadImage, ScaleIntensityRange

    network, window = network[0].to(asked.device), window_of(asked)
    image = LoadImage(ensure_channel_first=True)(scan)
    image = ScaleIntensityRange(LOWER, UPPER, 0.0, 1.0, clip=True)(image).as_tensor().to(asked.blend_on)  # [1,x,y,z]
    options = {"sw_batch_size": batch_of(asked), "overlap": asked.overlap, "mode": "gaussian"}
    options |= {"sw_device": asked.device, "device": asked.blend_on}
    if len(window) == 3:
        logits = SlidingWindowInferer(window, **options)(image.permute(0, 3, 2, 1)[None], network)  # [1,k,z,h,w]
        labels = labelled(logits)[0].permute(2, 1, 0)
    elif asked.contender == "monai":
        slices = image.permute(3, 0, 2, 1)  # [z,1,h,w], as ours
        labels = labelled(SlidingWindowInferer(window, **options)(slices, network)).permute(2, 1, 0)
    else:
        inferer = SliceInferer(spatial_dim=2, roi_size=window, **options)
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
    os.environ["XDG_CACHE_HOME"] = str(mask.parent / "cache")
    torch.set_num_threads(asked.threads)
    network = network_of(asked)
    if network[1]:
        bundles.save(bundle_of(*network, asked), mask.parent / "bundle")
    contender = ours if asked.contender.startswith("ours") else monai
    if contender is monai:  # its linear layers are torch's own: quick ones are a part of our engine=torch
        quick_linear.mkl_is_slow = lambda: False
    warm = make_scan(mask.parent, 1, 256)
    once = argparse.Namespace(**vars(asked))
    if asked.contender == "ours, compiled":
        once.contender = "ours, torch"  # its compilation counts
    first = contender(warm, mask.with_name("warm.nii.gz"), network, once)
    forget_peak()
    before, begun = peak_gib(), time.perf_counter()
    later = contender(scan, mask, network, asked)
    found = {"seconds": time.perf_counter() - begun}
    voxels = np.prod(nib.load(scan).shape)
    found |= {"beyond_gib": peak_gib() - before - voxels * 2 / 2**30}
    found |= {"conversion": max(0.0, first[0] - later[0]), "engine": later[1]} if later else {}
    queue.put(found)


def measure(asked, scan, folder):
    """Return rows of seconds and memory by contender; they take turns, each in a process of its own."""
    context = multiprocessing.get_context("spawn")
    taken = [name for name in asked.contenders if name != "loop" or len(window_of(asked)) == 2]
    rows = {name: {} for name in taken}
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
                row.setdefault(key, []).append(value)
            process.join()
            masks[name] = place / "mask.nii.gz"
    judge = "ours, torch" if "ours, torch" in masks else taken[0]
    first = np.asanyarray(nib.load(masks[judge]).dataobj)
    for name, row in rows.items():
        other = np.asanyarray(nib.load(masks[name]).dataobj)
        row["median"] = statistics.median(row["seconds"])
        row["differing_voxels"] = float((first != other).mean())
        same = [2 * ((first == k) & (other == k)).sum() / max(1, (first == k).sum() + (other == k).sum())
                for k in range(1, asked.classes + 1) if (first == k).any()]  # fmt: skip
        row["dice"] = float(min(same, default=1.0))
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    choices = (*ENGINES, "monai", "loop")
    usual = ["ours", "ours, torch", "ours, compiled", "monai", "loop"]
    parser.add_argument("--networks", nargs="+", default=["sam_tiny", "unet"], choices=tuple(CONFIGS))
    parser.add_argument("--contenders", nargs="+", default=usual, choices=choices)
    for option, default in (("slices", 300), ("side", 512), ("classes", 1), ("repeats", 1)):
        parser.add_argument(f"--{option}", type=int, default=default)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--overlap", type=float, default=0.25, help="share of a window; 0.25 is MONAI's default")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--blend-on", default="cpu", help="where MONAI holds the scan and its logits")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--spacing", type=float, help="mm of a pixel, of --profile; the scan's by default")
    asked = parser.parse_args()
    where = torch.cuda.get_device_name() if asked.device != "cpu" else f"CPU, {asked.threads} threads"
    made = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    for name in ["free"] if asked.memory else asked.networks:
        asked.network = name
        sides = "×".join(map(str, window_of(asked)))
        work = f"{asked.slices} slices of {asked.side}×{asked.side}, window {sides}, overlap {asked.overlap}, {name}, "
        work += f"{asked.classes} classes"
        with tempfile.TemporaryDirectory() as folder:
            scan = make_scan(folder, asked.slices, asked.side)
            if asked.profile:
                print(f"\n{work}, {where}, {asked.repeats} repeats")
                profile(asked, scan, folder)
                continue
            rows = measure(asked, scan, folder)
        print(f"\n{work}, {where}, {asked.repeats} repeats")
        for contender, row in rows.items():
            ratio = row["median"] / next(iter(rows.values()))["median"]
            beyond = statistics.median(row["beyond_gib"])
            line = f"{contender:18}{row['median']:9.1f} s{ratio:8.2f} ×{beyond:9.2f} GiB beyond the volume"
            line += f"{row['differing_voxels']:10.1e} of voxels differ, Dice {row['dice']:.5f}"
            if "engine" in row:
                line += f"; {row['engine'][0]}, the first run {max(row['conversion']):.1f} s more"
            print(line)
        facts = {"date": str(date.today()), "machine": f"{platform.machine()}, {where}", "work": work}
        facts |= {"torch": torch.__version__, "monai": version("monai")}
        facts |= {"command": " ".join(["python", *sys.argv])}
        facts |= {"commit": made.stdout.strip() or "unknown", "rows": rows}
        device = "cpu" if asked.device == "cpu" else "cuda"
        out = f"inference_{device}_{name}_{asked.slices}x{asked.side}_{asked.classes}.json"
        (Path(__file__).parent / "results" / out).write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
