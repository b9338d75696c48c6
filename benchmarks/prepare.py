"""Preparing volumes for training, ours against MONAI's dictionary transforms, and reading random slices of them.

The volumes are copies of data/demo's ct_b, 512×512 of 0.98 mm, its 20 slices as they are or five times over. Both
contenders turn the axes, resample in plane onto one and the same grid and map −160…240 HU to [0,1], two volumes at a
time; they take turns, and the median of the turns counts.

    image     the file read, resampled, normalised: an array in memory
    both      the label map too (the liver): ours by the largest share of a pixel, MONAI's by the nearest voxel
    stored    both, on disk: ours with `prepare` (float16, a compressed chunk a slice, counts and places of structures),
              MONAI's float32 tensors with torch.save, as its PersistentDataset does

    ours      `prepare`'s parts; where it shrinks, the image is low-pass filtered, which MONAI's is not
    monai     LoadImaged, Orientationd, Spacingd, ScaleIntensityRanged; Spacingd in float32
    default   the same with Spacingd's own float64

Beside the time on the clock stands that spent on a core, which other work on the machine hardly lengthens. Results are
compared on one grid: as they are, and with ours not filtered. Where a scan is enlarged there is no filter.
Slices are read in random order: from the page cache, after the system was asked to drop it, and by 8 processes at once.

    python benchmarks/prepare.py [--spacing 1.5 0.8] [--depth 20 100] [--volumes 6] [--repeats 3] [--workers 2]
"""

import argparse
import json
import multiprocessing
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from importlib.metadata import version
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from monai.transforms import Compose, LoadImaged, Orientationd, ScaleIntensityRanged, Spacingd
from torch.nn import functional as F

from segfocal.data.case import Case
from segfocal.data.store.prepare import prepare, read_pair
from segfocal.data.store.prepared_case import Preparation
from segfocal.intensity import Window
from segfocal.io import volumes
from segfocal.resample import ModelGrid
from segfocal.structure import Structure

DEMO = Path(__file__).parents[1] / "data" / "demo"
LIVER = Structure(name="liver", value=5)
LOWER, UPPER = -160.0, 240.0
JOBS, CONTENDERS = ("image", "both", "stored"), ("ours", "monai", "default")
READERS, READS = 8, 200


def settings(spacing):
    grid = ModelGrid(spacing_mm=spacing and (spacing, spacing))
    return Preparation(grid=grid, intensity=Window(lower=LOWER, upper=UPPER), structures=(LIVER,))


def make_cases(folder, depth, count):
    """Write `count` volumes of `depth` slices, each a file of its own."""
    cases = []
    for n in range(count):
        paths = {kind: folder / f"v{depth}_{n}_{kind}.nii.gz" for kind in ("image", "label")}
        for kind, path in paths.items():
            if n:
                shutil.copy(cases[0].image if kind == "image" else cases[0].label, path)
                continue
            source = nib.load(DEMO / f"ct_b_{kind}.nii.gz")
            array = np.tile(np.asanyarray(source.dataobj), (1, 1, -(-depth // source.shape[2])))[:, :, :depth]
            nib.save(nib.Nifti1Image(np.asfortranarray(array), source.affine, header=source.header), path)
        cases.append(Case(name=f"v{depth}_{n}", split="train", **paths))
    return cases


def ours(job, case, spacing):
    how = settings(spacing)
    if job == "image":
        return {"image": how.intensity(how.grid.image(volumes.read_stored(case.image)).array)}
    scan, labels = read_pair(case)
    image = how.intensity(how.grid.image(scan).array)
    return {"image": image, "label": how.grid.labels(labels, [LIVER.value]).array}


def monai(job, case, spacing, dtype):
    keys = ["image"] if job == "image" else ["image", "label"]
    _, h, w = settings(spacing).grid.of(volumes.read_grid(case.image)).spacing_mm
    onto = {"pixdim": (w, h, -1), "scale_extent": True, "align_corners": True}  # the grid that ours fills
    steps = [
        LoadImaged(keys, ensure_channel_first=True),
        Orientationd(keys, axcodes="LPS"),
        Spacingd(keys, mode=["bilinear", "nearest"][: len(keys)], dtype=dtype, **onto),
        ScaleIntensityRanged("image", LOWER, UPPER, 0.0, 1.0, clip=True),
    ]
    return Compose(steps)({key: getattr(case, key) for key in keys})


def work(contender, job, case, spacing, folder):
    """Do one volume's job in this process and return the CPU seconds it took; the arrays stay here."""
    begun = time.process_time()
    if contender == "ours":
        made = ours(job, case, spacing)
    else:
        made = monai(job, case, spacing, np.float32 if contender == "monai" else np.float64)
        if job == "stored":
            torch.save(made, Path(folder) / f"{case.name}.pt")
    return time.process_time() - begun


def timed(pool, contender, job, cases, spacing, workers):
    """Return the seconds and the CPU seconds of a job a volume."""
    n = len(cases)
    with tempfile.TemporaryDirectory() as folder:
        begun, cpu = time.perf_counter(), time.process_time()
        if contender == "ours" and job == "stored":
            prepare(cases, settings(spacing), Path(folder), workers=workers)
            spent = time.process_time() - cpu
        else:
            spent = sum(pool.map(work, [contender] * n, [job] * n, cases, [spacing] * n, [folder] * n))
        return (time.perf_counter() - begun) / n, spent / n


def in_turns(pool, cases, spacing, asked):
    """Return seconds and CPU seconds a volume by job and contender, the contenders in turns."""
    rows = {}
    for job in JOBS:
        took = {contender: [] for contender in CONTENDERS}
        for _ in range(asked.repeats):
            for contender, figures in took.items():
                figures.append(timed(pool, contender, job, cases, spacing, asked.workers))
        mine = [statistics.median(figure) for figure in zip(*took["ours"], strict=True)]
        for contender, figures in took.items():
            seconds, cpu = (statistics.median(figure) for figure in zip(*figures, strict=True))
            times = {"times_ours": seconds / mine[0], "cpu_times_ours": cpu / mine[1]}
            rows[f"{job}, {contender}"] = {"seconds": figures, "median": seconds, "cpu": cpu, **times}
            line = f"  {job:8}{contender:9}{seconds:8.3f} s a volume{times['times_ours']:7.2f} × ours"
            print(f"{line}; of a core {cpu:7.3f} s{times['cpu_times_ours']:7.2f} ×", flush=True)
    return rows


def differences(case, spacing):
    """Return how far the images in [0,1] and the label maps of the two lie apart, on one grid."""
    how, theirs = settings(spacing), monai("both", case, spacing, np.float64)
    mine, image = ours("both", case, spacing), theirs["image"][0].numpy().transpose(2, 1, 0)
    scan = volumes.read(case.image).oriented("SPL").array
    shape = how.grid.of(volumes.read_grid(case.image)).shape[1:]
    slices = torch.from_numpy(np.ascontiguousarray(scan))[:, None]
    plain = how.intensity(F.interpolate(slices, shape, mode="bilinear", align_corners=False)[:, 0].numpy())
    differ = {"ours": np.abs(mine["image"] - image), "ours without the filter": np.abs(plain - image)}
    found = {name: {"largest": float(gap.max()), "mean": float(gap.mean())} for name, gap in differ.items()}
    nearest = theirs["label"][0].numpy().transpose(2, 1, 0) == LIVER.value
    found["labels"] = {"differing": float((nearest != (mine["label"] == 1)).mean()), "dice": dice(nearest, mine)}
    for name, values in found.items():
        print(f"  against monai, {name}: " + ", ".join(f"{key} {value:.2e}" for key, value in values.items()))
    return found


def dice(nearest, mine):
    inside = mine["label"] == 1
    return float(2 * (nearest & inside).sum() / (nearest.sum() + inside.sum()))


def read(prepared, seed, cold):
    """Return the seconds of each of many random reads."""
    rng, took = np.random.default_rng(seed), []
    for _ in range(READS):
        ready = prepared[rng.integers(len(prepared))]
        index = int(rng.integers(ready.shape[0]))
        if cold:
            forget(ready.folder)
        begun = time.perf_counter()
        ready.slice(index)
        took.append(time.perf_counter() - begun)
    return took


def forget(folder):
    """Ask the system to drop a case's files from its page cache."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def reading(cases, spacing, folder, context):
    """Return the median milliseconds of a random read: alone, without the page cache, and by eight processes."""
    prepared = prepare(cases, settings(spacing), Path(folder))
    took = {"alone": read(prepared, 0, False), "cold": read(prepared, 1, True)}
    with ProcessPoolExecutor(READERS, mp_context=context) as pool:
        several = pool.map(read, [prepared] * READERS, range(READERS), [False] * READERS)
        took[f"{READERS} processes"] = [seconds for one in several for seconds in one]
    size = sum(file.stat().st_size for ready in prepared for file in ready.folder.iterdir())
    _, h, w = prepared[0].shape
    row = {f"ms, {name}": 1000 * statistics.median(seconds) for name, seconds in took.items()}
    row |= {"pixels": [h, w], "bytes_a_slice": size / sum(ready.shape[0] for ready in prepared)}
    print(f"a random slice of {h}×{w}: " + ", ".join(f"{k} {v:.2f}" for k, v in row.items() if k.startswith("ms")))
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spacing", nargs="+", type=float, default=[1.5, 0.8])
    parser.add_argument("--depth", nargs="+", type=int, default=[20, 100])
    for option, default in (("volumes", 6), ("repeats", 3), ("workers", 2)):
        parser.add_argument(f"--{option}", type=int, default=default)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    context = multiprocessing.get_context("spawn")
    rows, equal, reads = {}, {}, {}
    start = {"mp_context": context, "initializer": torch.set_num_threads, "initargs": (1,)}
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(asked.workers, **start) as pool:
        sets = {depth: make_cases(Path(folder), depth, asked.volumes) for depth in asked.depth}
        for contender in CONTENDERS:  # imports and first calls
            timed(pool, contender, "both", sets[asked.depth[0]][: asked.workers], asked.spacing[0], asked.workers)
        for spacing in asked.spacing:
            for depth, cases in sets.items():
                work = f"512×512×{depth} at {spacing} mm"
                print(f"\n{work}, {asked.volumes} volumes, {asked.workers} at a time, {asked.repeats} turns")
                rows[work] = in_turns(pool, cases, spacing, asked)
            equal[f"{spacing} mm"] = differences(sets[asked.depth[0]][0], spacing)
        for spacing in (None, asked.spacing[0]):
            name = f"{spacing or 'own'} mm"
            reads[name] = reading(sets[asked.depth[0]], spacing, Path(folder) / "cache", context)
    made = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    facts = {"date": str(date.today()), "machine": f"{platform.machine()}, CPU, {asked.workers} workers of 1 thread"}
    facts |= {"work": f"{asked.volumes} copies of ct_b a row", "torch": torch.__version__, "monai": version("monai")}
    facts |= {"command": " ".join(["python", *sys.argv]), "commit": made.stdout.strip() or "unknown"}
    facts |= {"rows": rows, "against_monai": equal, "random_slices": reads}
    out = Path(__file__).parent / "results" / "prepare_cpu.json"
    out.write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
