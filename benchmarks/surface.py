"""HD95, ASSD and NSD of large masks, ours against MONAI's three calls: the same masks in one process.

The masks are the liver and the spleen of the demo scan ct_b, stretched by nearest neighbour to 512×512×300, against a
prediction made of them: moved by a few voxels, its end cut off, with a coarse wave along its surface. Prints a table
with the ratio and writes JSON beside it under benchmarks/results.

    python benchmarks/surface.py [repeats]
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from datetime import date
from importlib.metadata import version
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance, compute_surface_dice
from scipy import ndimage

from segfocal.metrics import SurfaceDistances

SHAPE, SPACING_MM, TOLERANCE_MM = (512, 512, 300), (0.98, 0.98, 1.0), 2.0
STRUCTURES = {"liver": 5, "spleen": 1}
ROOT = Path(__file__).parents[1]


def masks(value):
    """Return a prediction and its reference."""
    labels = np.asarray(nib.load(ROOT / "data" / "demo" / "ct_b_label.nii.gz").dataobj)
    index = [np.arange(n) * size // n for n, size in zip(SHAPE, labels.shape, strict=True)]
    reference = np.ascontiguousarray((labels == value)[np.ix_(*index)])
    coarse = np.random.default_rng(value).normal(size=(16, 16, 20))
    wave = ndimage.zoom(coarse, [n / m for n, m in zip(SHAPE, coarse.shape, strict=True)], order=1) > 0
    moved = np.roll(reference, (3, -2, 2), (0, 1, 2))
    prediction = np.where(wave, moved, reference)
    prediction[:, :, :20] = False
    return prediction, reference


def ours(prediction, reference):
    surface = SurfaceDistances.between(prediction, reference, SPACING_MM)
    return surface.hd95, surface.assd, surface.nsd(TOLERANCE_MM)


def monai(prediction, reference):
    pair = [torch.from_numpy(mask)[None, None] for mask in (prediction, reference)]
    options = {"include_background": True, "spacing": list(SPACING_MM)}
    return (
        compute_hausdorff_distance(*pair, percentile=95, **options).item(),
        compute_average_surface_distance(*pair, symmetric=True, **options).item(),
        compute_surface_dice(*pair, class_thresholds=[TOLERANCE_MM], **options).item(),
    )


def measured(contender, pair, repeats):
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        figures = contender(*pair)
        seconds.append(time.perf_counter() - start)
    return {"seconds": statistics.median(seconds), "hd95_mm": figures[0], "assd_mm": figures[1], "nsd": figures[2]}


def commit():
    asked = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return asked.stdout.strip() or "unknown"


def main():
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    load = os.getloadavg()[0]
    results = {}
    for name, value in STRUCTURES.items():
        pair = masks(value)
        rows = {contender.__name__: measured(contender, pair, repeats) for contender in (ours, monai)}
        results[name] = {"ratio": rows["monai"]["seconds"] / rows["ours"]["seconds"], **rows}
        for contender, row in rows.items():
            print(
                f"{name:>7} {contender:>6}  {row['seconds']:6.2f} s  " + str({k: round(v, 4) for k, v in row.items()})
            )
        print(f"{name:>7} ours is {results[name]['ratio']:.1f} times as fast as MONAI {version('monai')}")
    facts = {
        "date": str(date.today()),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads of torch",
        "load_at_start": round(load, 2),
        "command": " ".join(["python", *sys.argv]),
        "commit": commit(),
        "monai": version("monai"),
        "edt": version("edt"),
        "shape": SHAPE,
        "spacing_mm": SPACING_MM,
        "tolerance_mm": TOLERANCE_MM,
        "repeats": repeats,
        **results,
    }
    out = Path(__file__).parent / "results" / "surface.json"
    out.write_text(json.dumps(facts, indent=2) + "\n")


if __name__ == "__main__":
    main()
