"""What benchmarks of `segfocal serve` share: their options, a server that they start, places to click at."""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
DEMO = ROOT / "data" / "demo"


def options_of(text):
    """Return a parser with the options of all; text: of the help."""
    parser = argparse.ArgumentParser(description=text.splitlines()[0])
    parser.add_argument("bundle", help="bundle=FOLDER of a promptable model")
    parser.add_argument("--sessions", type=int, default=50)
    parser.add_argument("--at-once", type=int, default=5)
    parser.add_argument("--scan", type=Path, default=DEMO / "ct_b_image.nii.gz")
    parser.add_argument("--label", type=Path, default=DEMO / "ct_b_label.nii.gz")
    parser.add_argument("--value", type=int, default=5, help="of the structure in the label")
    parser.add_argument("--structure", default="liver")
    parser.add_argument("--output", type=Path)
    return parser


@contextmanager
def served(options, fill=lambda scans: None):
    """Serve the bundle for a while; yield its process, the address, and its folder. fill: puts scans into a folder."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "scans").mkdir()
        fill(folder / "scans")
        scans = folder / "scans" if any((folder / "scans").iterdir()) else "null"
        process, address = start(options.bundle.removeprefix("bundle="), scans, folder)
        try:
            yield process, address, folder
        finally:
            process.terminate()
            process.wait(30)


def start(bundle, scans, folder, *more):
    """Start a server; return its process and the address that it prints when it is ready."""
    command = [sys.executable, str(ROOT / "scripts" / "serve.py"), f"bundle={bundle}", f"input={scans}", "port=0"]
    command += [f"output={folder / 'corrected'}", f"session={folder / 'sessions'}", *more]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    address = process.stdout.readline().strip()
    if not address.startswith("http"):
        raise RuntimeError(f"no server: {address}")
    return process, address


def resident_mib(process):
    text = Path(f"/proc/{process.pid}/status").read_text()
    return int(text.split("VmRSS:")[1].split()[0]) / 1024


def places(label, value):
    """Return voxels to click at: corners of a box round the structure on its largest slice, and places inside."""
    z = int((label == value).sum((0, 1)).argmax())
    inside = np.argwhere(label[:, :, z] == value)
    low, high = inside.min(0), inside.max(0)
    picked = inside[np.linspace(0, len(inside) - 1, 7).astype(int)[1:-1]]
    return [[*low.tolist(), z], [*high.tolist(), z]], [[*voxel.tolist(), z] for voxel in picked]


def percentiles(times):
    """Return how many times there are, and their 50th and 95th percentile."""
    return {"n": len(times), **{f"p{p}": round(float(np.percentile(times, p)), 3) for p in (50, 95)}}


def machine():
    """Return what every report begins with."""
    return {
        "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "command": " ".join(sys.argv),
    }


def told(report, options):
    """Print a report, and write it where that was asked for."""
    print(json.dumps(report, indent=2))
    if options.output:
        options.output.write_text(json.dumps(report, indent=2) + "\n")
