"""What losses and sampling by lesion cost: seconds more of a training step, and of preparing a scan.

    python benchmarks/lesion_costs.py [--steps 30] [--turns 5]

Synthetic balls in noise, of the sizes of real scans. A step is one of `segfocal train` (load, augment, forward, loss,
backward, optimiser) of a U-Net, 2-D and 3-D, with focal+dice and with each loss by lesion, in turns in one process.
Preparing is that of `segfocal prepare` with and without components, image and label read from NIfTI. Seconds of
the processor, so that one thread is compared fairly on a busy machine too: of steps the median of turns, of preparing
the least. Writes JSON under benchmarks/results.
"""

import argparse
import json
import platform
import sys
import tempfile
from datetime import date
from pathlib import Path
from statistics import median
from time import process_time as clock  # of one thread: other work on the machine does not count

import nibabel as nib
import numpy as np
import torch

from segfocal.augment import Augment
from segfocal.data.cases import read_cases
from segfocal.data.sampling.dataset import Sampling, SliceDataset, Steps, load
from segfocal.data.store.prepare import prepare
from segfocal.data.store.prepared_case import Preparation
from segfocal.intensity import Window
from segfocal.losses import BlobLoss, CCDiceLoss, ComponentFocalLoss, DiceLoss, FocalLoss, WeightedSum
from segfocal.models import UNet
from segfocal.resample import ModelGrid
from segfocal.structure import Structure
from segfocal.tasks import Semantic

ROOT = Path(__file__).resolve().parents[1]
STRONG = Augment(rotate=0.4, scale=0.3, anisotropy=0.15, shift=0.2, elastic=2.5, contrast=0.3, gamma=0.5, noise=0.06)
LOSSES = {
    "focal+dice": {"focal": FocalLoss(2.0, 0.75), "dice": DiceLoss(batch=True)},
    "focal+cc_dice": {"focal": FocalLoss(2.0, 0.75), "cc_dice": CCDiceLoss()},
    "focal+dice+cc_dice": {"focal": FocalLoss(2.0, 0.75), "dice": DiceLoss(batch=True), "cc_dice": CCDiceLoss()},
    "focal+dice+blob": {"focal": FocalLoss(2.0, 0.75), "dice": DiceLoss(batch=True), "blob": BlobLoss()},
    "component_focal+dice": {"component_focal": ComponentFocalLoss(0.5, 2.0, 0.75), "dice": DiceLoss(batch=True)},
}
STEPS = {  # window, widths of the U-Net, samples a step
    "2-D, 8 × 128×128": ((128, 128), (16, 32, 64, 96, 128), 8),
    "3-D, 2 × 16×96×96": ((16, 96, 96), (16, 32, 64, 96), 2),
}
SCANS = {  # shape [x,y,z], spacing, lesions; the spacing they are prepared at
    "512×512×100 at 0.8 mm in plane, slices at 1.5 mm": ((512, 512, 100), (0.8, 0.8, 3.0), 12, (1.5, 1.5)),
    "512×512×100, slices as they are": ((512, 512, 100), (0.8, 0.8, 3.0), 12, None),
    "512×512×100, in space at 3 mm": ((512, 512, 100), (0.8, 0.8, 3.0), 12, (3.0, 3.0, 3.0)),
    "512×512×100, 60 lesions, slices at 1.5 mm": ((512, 512, 100), (0.8, 0.8, 3.0), 60, (1.5, 1.5)),
}


def make_case(folder, shape, spacing_mm, lesions):
    """Write a scan of a body with balls of 4 to 20 mm, and their label."""
    rng, label = np.random.default_rng(0), np.zeros(shape, np.uint8)
    image = rng.normal(40, 15, shape).astype(np.int16)
    for _ in range(lesions):
        radius = rng.uniform(2, 10)
        middle = [rng.uniform(0.2, 0.8) * side for side in shape]
        box = [slice(int(m - radius / s) - 1, int(m + radius / s) + 2) for m, s in zip(middle, spacing_mm, strict=True)]
        axes = np.ogrid[tuple(box)]
        far = sum(((a - m) * s) ** 2 for a, m, s in zip(axes, middle, spacing_mm, strict=True))
        label[tuple(box)][far <= radius**2] = 1
    image[label > 0] += 80
    for name, array in (("images", image), ("labels", label)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(array, np.diag([*spacing_mm, 1.0])), folder / name / "a.nii.gz")
    return read_cases(folder).cases


def preparation(spacing_mm, *, components):
    return Preparation(
        grid=ModelGrid(spacing_mm=spacing_mm),
        intensity=Window(lower=-160.0, upper=240.0),
        structures=(Structure(name="lesion", value=1),),
        components=components,
    )


def preparing(turns, work):
    """Return seconds of preparing each scan without and with components, and of reading a slice and its numbers."""
    rows = {}
    for number, (name, (shape, spacing_mm, lesions, seen)) in enumerate(SCANS.items()):
        cases, took = make_case(work / str(number), shape, spacing_mm, lesions), {False: [], True: []}
        for turn in range(turns):
            for components in took:
                settings, cache = preparation(seen, components=components), work / f"{number} {turn} {components}"
                started = clock()
                (ready,) = prepare(cases, settings, cache)
                took[components].append(clock() - started)
        plain, numbered = (min(one) for one in took.values())
        reads = {"label": [], "components": []}
        for index in np.random.default_rng(0).integers(ready.shape[0], size=200):
            started = clock()
            np.asarray(ready._array("target")[int(index)])
            between = clock()
            ready.components(int(index), int(index) + 1)
            reads["label"].append(between - started)
            reads["components"].append(clock() - between)
        rows[name] = {
            "plain_s": plain,
            "components_s": numbered,
            "more": numbered / plain - 1,
            "read_label_ms": 1000 * median(reads["label"]),
            "read_components_ms": 1000 * median(reads["components"]),
            "image_bytes": (ready.folder / "image.b2nd").stat().st_size,
            "components_bytes": (ready.folder / "components.b2nd").stat().st_size,
        }
        print(name, {key: round(value, 3) for key, value in rows[name].items()}, flush=True)
    return rows


def stepping(asked, work):
    """Return the median seconds of a step with each loss."""
    rows = {}
    for name, (window, widths, samples) in STEPS.items():
        deep = len(window) == 3
        cases = make_case(work / name[:3], (256, 256, 60), (1.5, 1.5, 3.0), 12)
        settings = preparation((3.0, 1.5, 1.5) if deep else (1.5, 1.5), components=True)
        prepared, took = prepare(cases, settings, work / f"{name[:3]} cache"), {loss: [] for loss in LOSSES}
        crop = (*window[:-2], *(round(side * 1.25) for side in window[-2:]))
        torch.manual_seed(0)
        model = UNet(widths=widths, dims=3 if deep else 2)
        optimizer = torch.optim.AdamW(model.parameters())
        for turn in range(asked.turns):
            for loss, terms in LOSSES.items():
                criterion = WeightedSum(terms, dict.fromkeys(terms, 1.0), anatomy=True)
                task = Semantic(model=model, criterion=criterion)
                sampling = Sampling(foreground=0.5, crop=crop, cells=criterion.uses_components)
                data = SliceDataset(prepared, 1, sampling)
                steps = Steps(seed=turn, first=0, last=asked.steps, batch_size=samples)
                started = clock()
                for batch in load(data, steps, workers=0, pin=False):
                    task(STRONG(batch, size=window)).total.backward()
                    optimizer.step()
                    optimizer.zero_grad()
                took[loss].append((clock() - started) / asked.steps)
        plain = median(took["focal+dice"])
        rows[name] = {loss: {"seconds": median(one), "more": median(one) / plain - 1} for loss, one in took.items()}
        for loss, row in rows[name].items():
            print(f"{name}, {loss}: {row['seconds']:.4f} s a step, {row['more']:+.1%}", flush=True)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--turns", type=int, default=5)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    facts = {"date": date.today().isoformat(), "machine": platform.processor() or platform.machine()}
    facts |= {"command": " ".join(sys.argv), "torch": torch.__version__}
    with tempfile.TemporaryDirectory() as work:
        facts |= {"steps": stepping(asked, Path(work)), "prepare": preparing(asked.turns, Path(work))}
    (ROOT / "benchmarks" / "results" / "lesion_costs.json").write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
