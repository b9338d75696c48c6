"""Boxes on some slices of a scan, carried to all of it: seconds by engine, disk to disk, the command as users call it.

    python scripts/weights.py get lite_medsam
    python benchmarks/prompted.py [--slices 300] [--every 10] [--engines torch auto] [--threads 2] [--structure 5]

One scan (data/demo's ct_b, its slices repeated), LiteMedSAM's published weights as they are, and a box around the
reference of one structure on every tenth slice. An engine runs twice: converting the network is the difference of the
first. Prints seconds, the ratio to torch, and Dice with torch's mask; writes JSON under benchmarks/results.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import nibabel as nib
import numpy as np
import torch

ROOT = Path(__file__).parents[1]
DEMO = ROOT / "data" / "demo"


def repeated(name, slices, path):
    """Write a file of the demo with its slices repeated; return its array."""
    source = nib.load(DEMO / f"{name}.nii.gz")
    array = np.asanyarray(source.dataobj)
    array = np.asfortranarray(np.tile(array, (1, 1, -(-slices // array.shape[2])))[:, :, :slices])
    nib.save(nib.Nifti1Image(array, source.affine, header=source.header), path)
    return array


def boxes(label, structure, every):
    """Return an entry of prompts.json for every so manyth slice that holds the structure."""
    found = []
    for z in range(0, label.shape[2], every):
        places = np.argwhere(label[:, :, z] == structure)
        if len(places):
            low, high = places.min(axis=0).tolist(), places.max(axis=0).tolist()
            found.append({"lower": [*low, z], "upper": [*high, z]})
    return found


def read(mask):
    return np.asanyarray(nib.load(mask).dataobj) > 0


def dice(one, other):
    return 2 * int((one & other).sum()) / max(1, int(one.sum()) + int(other.sum()))


def predict(folder, engine, asked, turn):
    """Return the seconds of a command, no answer of which is kept from another, and what it says ran the network."""
    mask = folder / f"{engine}.nii.gz"
    options = [f"bundle={folder / 'bundle'}", f"input={folder / 'scan.nii.gz'}", f"prompts={folder / 'prompts.json'}"]
    command = [sys.executable, ROOT / "scripts" / "predict.py", *options, f"output={mask}", "overwrite=true"]
    command.append(f"session={folder / f'session_{engine}_{turn}'}")
    environment = os.environ | {"OMP_NUM_THREADS": str(asked.threads), "XDG_CACHE_HOME": str(folder / "cache")}
    begun = time.perf_counter()
    subprocess.run([*command, f"engine={engine}"], env=environment, check=True, stdout=subprocess.DEVNULL)
    report = json.loads((folder / f"{engine}.json").read_text())
    return time.perf_counter() - begun, report["engine"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engines", nargs="+", default=["torch", "auto"])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    for option, default in (("slices", 300), ("every", 10), ("structure", 5)):
        parser.add_argument(f"--{option}", type=int, default=default)
    asked = parser.parse_args()
    rows = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        repeated("ct_b_image", asked.slices, folder / "scan.nii.gz")
        label = repeated("ct_b_label", asked.slices, folder / "label.nii.gz")
        prompts = boxes(label, asked.structure, asked.every)
        (folder / "prompts.json").write_text(json.dumps(prompts))
        making = ["weights.py", "bundle", "lite_medsam", folder / "bundle", "--structure", f"it:{asked.structure}"]
        subprocess.run([sys.executable, ROOT / "scripts" / making[0], *making[1:]], check=True)
        for engine in asked.engines:
            turns = [predict(folder, engine, asked, turn) for turn in range(1 if engine == "torch" else 2)]
            seconds, ran = turns[-1]
            mask = read(folder / f"{engine}.nii.gz")
            rows[engine] = {"seconds": seconds, "first": turns[0][0], "engine": ran, "voxels": int(mask.sum())}
            rows[engine]["dice"] = dice(mask, read(folder / f"{asked.engines[0]}.nii.gz"))
            rows[engine]["dice_with_label"] = dice(mask, label == asked.structure)
            ratio = rows[asked.engines[0]]["seconds"] / seconds
            line = f"{engine:12}{seconds:8.1f} s{ratio:7.2f} ×  first {turns[0][0]:.1f} s  Dice "
            line += f"{rows[engine]['dice']:.5f}, with the label {rows[engine]['dice_with_label']:.3f}; {ran}"
            print(line, flush=True)
    facts = {"date": str(date.today()), "machine": f"{platform.machine()}, {asked.threads} threads"}
    facts |= {"torch": torch.__version__, "command": " ".join(["python", *sys.argv])}
    facts |= {"prompts": len(prompts), "slices": asked.slices, "rows": rows}
    (ROOT / "benchmarks" / "results" / "prompted_cpu.json").write_text(json.dumps(facts, indent=2) + "\n")


if __name__ == "__main__":
    main()
