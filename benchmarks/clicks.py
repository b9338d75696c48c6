"""Seconds a click of promptable models about one scan, in turns and in one process, as `segfocal serve` answers it.

    python scripts/weights.py get lite_medsam
    python benchmarks/clicks.py NAME=BUNDLE … [--clicks 5] [--slices 5] [--engine auto] [--threads 2]
                                [--structures liver spleen aorta]

A user's clicks on data/demo's ct_b (512×512), drawn from its reference: on so many slices of each structure one in its
middle, then clicks in the middle of the largest error. Each model is clicked by its own errors and takes its turn with
the others. A click is timed until label values stand on the scan's own grid; the first of a slice, which embeds the
image, is told apart from those that follow. Last, the clicks of a slice are carried to the ends of the scan.
LiteMedSAM's published weights are the rival. Prints seconds (median, 95th percentile) and the ratio of medians to the
rival's (above 1: ahead of it); writes JSON under benchmarks/results.
"""

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from datetime import date
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from scipy.ndimage import distance_transform_edt

from segfocal.inference import bundle as bundles
from segfocal.inference.prompted.propagation_options import PropagationOptions
from segfocal.inference.sliding.sliding_options import SlidingOptions
from segfocal.io import nifti
from segfocal.predict.predict import ready_predictor
from segfocal.serve.history import Carried, Prompted, Standing
from segfocal.serve.mask import SessionMask

ROOT = Path(__file__).parents[1]
DEMO = ROOT / "data" / "demo"
RIVAL = "lite_medsam"
KINDS = ("first click of a slice", "click", "carried through the scan")


def rival_bundle(folder, values):
    """Return a bundle of LiteMedSAM's weights for these structures."""
    structures = [part for name, value in values.items() for part in ("--structure", f"{name}:{value}")]
    made = [sys.executable, ROOT / "scripts" / "weights.py", "bundle", RIVAL, folder, *structures]
    subprocess.run(made, check=True, stdout=subprocess.DEVNULL)
    return folder


def middle(region):
    """Return the pixel [x,y] of a region that is farthest from its border."""
    return [
        int(i) for i in np.unravel_index(distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1].argmax(), region.shape)
    ]


def next_click(truth, found):
    """Return the pixel in the middle of the error with the widest middle, and whether it lies inside; None without."""
    missed, false = truth & ~found, found & ~truth
    if not (missed.any() or false.any()):
        return None
    depth = [distance_transform_edt(np.pad(error, 1)).max() for error in (missed, false)]
    inside = depth[0] >= depth[1]
    return middle(missed if inside else false), bool(inside)


def slices_of(truth, count):
    """Return slices spread over those that hold a structure."""
    held = np.flatnonzero(truth.any(axis=(0, 1)))
    return sorted({int(z) for z in held[np.linspace(0, len(held) - 1, count + 2).astype(int)[1:-1]]})


class Session:
    """One model's answers about the scan; `click` and `carry` return seconds."""

    def __init__(self, folder, scan, engine):
        predictor = ready_predictor(
            [bundles.load(folder)],
            postprocess="auto",
            sliding=SlidingOptions(engine=engine),
            device=torch.device("cpu"),
        )
        self.place = tempfile.TemporaryDirectory()
        self.mask = SessionMask(predictor, scan, folder=Path(self.place.name), options=PropagationOptions())
        self.standing, self.serial = Standing(), 0

    def act(self, action, **facts):
        self.serial += 1
        self.standing = self.standing.after(action(serial=self.serial, **facts))
        begun = time.perf_counter()
        self.mask.update(self.standing)
        return time.perf_counter() - begun

    def click(self, structure, voxel, inside):
        entry = {"point": voxel, "inside": inside, "structure": structure}
        return self.act(Prompted, structure=structure, kind="point", positive=inside, world_mm=[], entries=[entry])

    def carry(self):
        return self.act(Carried, reach_mm=None)

    def forget(self):
        self.standing = Standing()
        self.mask.update(self.standing)

    def found(self, value, z):
        return self.mask.part(((0, 0, z), (*self.mask.grid.shape[:2], z + 1)))[:, :, 0] == value


def measure(sessions, label, values, asked):
    """Return seconds by model and kind, and Dice by model after the last click of a slice."""
    seconds, dice = defaultdict(list), defaultdict(list)
    for structure, value in values.items():
        truth = label == value
        for z in slices_of(truth, asked.slices):
            for number in range(asked.clicks):
                for name, session in sessions.items():
                    own = session.mask.bundle.structures
                    held = session.found(next(one.value for one in own if one.name == structure), z)
                    asking = next_click(truth[:, :, z], held)
                    if asking is None:
                        continue
                    took = session.click(structure, [*asking[0], z], asking[1])
                    seconds[name, KINDS[bool(number)]].append(took)
            for name, session in sessions.items():
                own = session.mask.bundle.structures
                held = session.found(next(one.value for one in own if one.name == structure), z)
                both = int((held & truth[:, :, z]).sum())
                dice[name].append(2 * both / max(1, int(held.sum()) + int(truth[:, :, z].sum())))
                seconds[name, KINDS[2]].append(session.carry())
                session.forget()
    return seconds, dice


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", nargs="+", metavar="NAME=BUNDLE")
    parser.add_argument("--clicks", type=int, default=5, help="on a slice")
    parser.add_argument("--slices", type=int, default=5, help="of each structure")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--structures", nargs="+", default=["liver", "spleen", "aorta"])
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    names = json.loads((DEMO / "label_names.json").read_text())["ct"]
    values = {name: int(value) for value, name in names.items() if name in asked.structures}
    label = np.asanyarray(nib.load(DEMO / "ct_b_label.nii.gz").dataobj)
    scan = nifti.read_stored(DEMO / "ct_b_image.nii.gz")
    with tempfile.TemporaryDirectory() as place:
        folders = {RIVAL: rival_bundle(Path(place) / RIVAL, values)}
        folders |= {name: Path(folder) for name, _, folder in (one.partition("=") for one in asked.bundles)}
        sessions = {name: Session(folder, scan, asked.engine) for name, folder in folders.items()}
        seconds, dice = measure(sessions, label, values, asked)
    rows = []
    for name in sessions:
        for kind in KINDS:
            took = seconds[name, kind]
            row = {"model": name, "kind": kind, "count": len(took), "median": float(np.median(took))}
            row |= {"p95": float(np.quantile(took, 0.95))}
            row["ratio"] = float(np.median(seconds[RIVAL, kind])) / row["median"]
            row["dice"] = float(np.mean(dice[name]))
            rows.append(row)
            print(
                f"{name:14}{kind:26}{row['median']:8.3f} s, p95 {row['p95']:7.3f} s{row['ratio']:7.2f} ×  "
                f"n {len(took)}, slice Dice at the end {row['dice']:.3f}"
            )
    facts = {"date": str(date.today()), "machine": f"{platform.machine()}, {asked.threads} threads"}
    facts |= {"torch": torch.__version__, "engine": asked.engine, "command": " ".join(["python", *sys.argv])}
    (ROOT / "benchmarks" / "results" / "clicks_cpu.json").write_text(
        json.dumps(facts | {"rows": rows}, indent=2) + "\n"
    )


if __name__ == "__main__":
    main()
