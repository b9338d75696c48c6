"""Augmenting a batch: ours against MONAI's dictionary transforms of the same kinds, in the same process.

    python benchmarks/augment.py [--batch 16] [--size 256] [--channels 1] [--rounds 9] [--threads 1]

Rotation, scaling, shift, flips, elastic deformation, contrast, brightness, gamma, bias field, blur and noise, every one
on every sample, on images with one label each. MONAI runs sample by sample, as its transforms do, and stacks; once with
affine and elastic deformation in one resampling (Rand2DElasticd, its fastest way) and once in two (RandAffined first).
The three take turns; medians. Prints the ratios and writes JSON under benchmarks/results.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import monai
import torch
from monai import transforms as mt

from segfocal.augment import Augment
from segfocal.batch import Batch, Origin, SampleKey

KEYS, BOTH = ["image", "label"], ("bilinear", "nearest")
OURS = Augment(
    rotate=0.4,
    scale=0.3,
    shift=0.2,
    elastic=2.5,
    flip=["h", "w"],
    contrast=0.3,
    gamma=0.5,
    brightness=0.15,
    bias=0.15,
    blur=1.0,
    noise=0.06,
)


def rival(size, *, resamplings):
    """Return MONAI's transforms of the same kinds and about the same strengths, each applied every time."""
    affine = {
        "rotate_range": 0.4,
        "scale_range": (0.3, 0.3),
        "translate_range": (0.2 * size, 0.2 * size),
        "padding_mode": "zeros",
        "mode": BOTH,
    }
    elastic = {"spacing": (size / 4, size / 4), "magnitude_range": (1.0, 2.5)}
    moves = [mt.Rand2DElasticd(KEYS, prob=1.0, **elastic, **affine)]
    if resamplings == 2:
        bend = mt.Rand2DElasticd(KEYS, prob=1.0, **elastic, padding_mode="zeros", mode=BOTH)
        moves = [mt.RandAffined(KEYS, prob=1.0, **affine), bend]
    return mt.Compose(
        [
            *moves,
            mt.RandFlipd(KEYS, prob=0.5, spatial_axis=0),
            mt.RandFlipd(KEYS, prob=0.5, spatial_axis=1),
            mt.RandScaleIntensityd("image", factors=0.3, prob=1.0),
            mt.RandShiftIntensityd("image", offsets=0.15, prob=1.0),
            mt.ScaleIntensityRanged("image", 0.0, 1.0, 0.0, 1.0, clip=True),
            mt.RandAdjustContrastd("image", prob=1.0, gamma=(0.6, 1.65)),
            mt.RandBiasFieldd("image", prob=1.0, degree=3, coeff_range=(0.0, 0.1)),
            mt.RandGaussianSmoothd("image", prob=1.0, sigma_x=(0.05, 1.2), sigma_y=(0.05, 1.2)),
            mt.RandGaussianNoised("image", prob=1.0, std=0.06),
        ]
    ).set_random_state(seed=0)


def batch_of(asked):
    generator = torch.Generator().manual_seed(0)
    shape = (asked.batch, asked.channels, asked.size, asked.size)
    image = torch.nn.functional.avg_pool2d(torch.rand(shape, generator=generator), 5, stride=1, padding=2)
    target = (image[:, :1] > 0.5).to(torch.uint8)
    keys = tuple(SampleKey(0, 0, i) for i in range(asked.batch))
    return Batch(image=image, target=target, keys=keys, origins=(Origin(""),) * asked.batch)


def by_samples(compose, batch):
    done = [compose({"image": i, "label": t}) for i, t in zip(batch.image, batch.target, strict=True)]
    return torch.stack([d["image"] for d in done]), torch.stack([d["label"] for d in done])


def measured(asked):
    """Return seconds a batch of each way, a list over the rounds."""
    batch, size = batch_of(asked), (asked.size, asked.size)
    one, two = rival(asked.size, resamplings=1), rival(asked.size, resamplings=2)
    ways = {
        "segfocal": lambda: OURS(batch, size=size),
        "MONAI, one resampling": lambda: by_samples(one, batch),
        "MONAI, two resamplings": lambda: by_samples(two, batch),
    }
    rows = {name: [] for name in ways}
    for turn in range(asked.rounds + 1):  # the first warms up
        for name, way in ways.items():
            begun = time.perf_counter()
            way()
            if turn:
                rows[name].append(time.perf_counter() - begun)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    rows = measured(asked)
    medians = {name: statistics.median(seconds) for name, seconds in rows.items()}
    print(
        f"[{asked.batch},{asked.channels},{asked.size},{asked.size}], {asked.threads} threads, "
        f"MONAI {monai.__version__}"
    )
    for name, seconds in medians.items():
        spread = f"{1e3 * min(rows[name]):.0f} to {1e3 * max(rows[name]):.0f}"
        ratio = seconds / medians["segfocal"]
        print(f"{ratio:5.1f}×  {name:24}{1e3 * seconds:8.1f} ms ({spread}) {asked.batch / seconds:8.1f} images/s")
    made = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    facts = {
        "date": str(date.today()),
        "machine": f"{platform.machine()}, CPU, {asked.threads} threads",
        "torch": torch.__version__,
        "monai": monai.__version__,
        "command": " ".join(["python", *sys.argv]),
        "commit": made.stdout.strip() or "unknown",
        "ratio": {name: round(seconds / medians["segfocal"], 2) for name, seconds in medians.items()},
        "seconds": {name: [round(s, 5) for s in seconds] for name, seconds in rows.items()},
    }
    out = (
        Path(__file__).parent / "results" / f"augment_cpu_{asked.batch}x{asked.channels}x{asked.size}x{asked.size}.json"
    )
    out.write_text(json.dumps(facts, indent=2) + "\n")


if __name__ == "__main__":
    main()
