"""Scripted sessions against `segfocal serve`, some at once: seconds a click (p50, p95) and the server's memory.

    python benchmarks/serve.py bundle=runs/x/bundle [--sessions 50] [--at-once 5] [--scan data/demo/ct_b_image.nii.gz]

Each session opens a scan of its own (copies of one file), draws a box, two points and a scribble on the slice where the
structure is largest, takes one back, carries the answer to all slices, reads the changed part, saves, and closes. The
server is the command as users start it. Prints a table; --output writes it as JSON. The model's own speed is that of
benchmarks/prompted.py; here it counts what a person waits for.
"""

import argparse
import http.client
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import nibabel as nib
import numpy as np

ROOT = Path(__file__).parents[1]
DEMO = ROOT / "data" / "demo"


class Client:
    """Talks to a server; one to a thread. Every request is timed by what it is about."""

    def __init__(self, address):
        parts = urlsplit(address)
        self.host, self.port = parts.hostname, parts.port
        self.headers = {"Authorization": f"Bearer {parse_qs(parts.query)['token'][0]}"}
        self.seconds = defaultdict(list)

    def ask(self, method, path, body=None, *, what=None):
        started = time.perf_counter()
        connection = http.client.HTTPConnection(self.host, self.port, timeout=600)
        connection.request(method, path, None if body is None else json.dumps(body), self.headers)
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        self.seconds[what or path.rsplit("/", 1)[-1]].append(time.perf_counter() - started)
        if answer.status >= 400:
            raise RuntimeError(f"{method} {path}: {answer.status} {data[:300]!r}")
        return json.loads(data) if "json" in answer.headers.get("content-type", "") else data


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


def session(client, scan, structure, corners, inside):
    """Do what a person does with one scan."""
    opened = client.ask("POST", "/api/sessions", {"scan": scan}, what="open")
    base = f"/api/sessions/{opened['session']}"
    client.ask("GET", f"{base}/mask.bin", what="first mask")
    affine = np.array(opened["affine"])
    world = lambda voxels: [(affine @ [*voxel, 1.0])[:3].tolist() for voxel in voxels]  # noqa: E731
    about = {"structure": structure}
    client.ask("POST", f"{base}/prompts", {**about, "kind": "box", "world_mm": world(corners)}, what="box")
    for voxel in inside[:2]:
        client.ask("POST", f"{base}/prompts", {**about, "kind": "point", "world_mm": world([voxel])}, what="point")
        client.ask("GET", f"{base}/mask.bin?since=1", what="changed part")
    client.ask("POST", f"{base}/prompts", {**about, "kind": "scribble", "world_mm": world(inside[2:])}, what="scribble")
    client.ask("POST", f"{base}/undo", {}, what="undo")
    client.ask("POST", f"{base}/carry", {}, what="carry")
    saved = client.ask("POST", f"{base}/save", {}, what="save")
    client.ask("POST", f"{base}/close", {}, what="close")
    return saved


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", help="bundle=FOLDER of a promptable model")
    parser.add_argument("--sessions", type=int, default=50)
    parser.add_argument("--at-once", type=int, default=5)
    parser.add_argument("--scan", type=Path, default=DEMO / "ct_b_image.nii.gz")
    parser.add_argument("--label", type=Path, default=DEMO / "ct_b_label.nii.gz")
    parser.add_argument("--value", type=int, default=5, help="of the structure in the label")
    parser.add_argument("--structure", default="liver")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    corners, inside = places(np.asanyarray(nib.load(options.label).dataobj), options.value)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "scans").mkdir()
        for number in range(options.sessions):
            shutil.copyfile(options.scan, folder / "scans" / f"scan_{number:03d}.nii.gz")
        process, address = start(options.bundle.removeprefix("bundle="), folder / "scans", folder)
        try:
            report = measure(process, address, options, corners, inside)
        finally:
            process.terminate()
            process.wait(30)
    print(json.dumps(report, indent=2))
    if options.output:
        options.output.write_text(json.dumps(report, indent=2) + "\n")


def measure(process, address, options, corners, inside):
    clients = threading.local()
    made, memory = [], []

    def run(scan):
        if not hasattr(clients, "own"):
            clients.own = Client(address)
            made.append(clients.own)
        session(clients.own, scan["id"], options.structure, corners, inside)
        memory.append(round(resident_mib(process), 1))

    scans = Client(address).ask("GET", "/api/scans")["scans"]
    started = time.perf_counter()
    with ThreadPoolExecutor(options.at_once) as threads:
        list(threads.map(run, scans))
    seconds = defaultdict(list)
    for client in made:
        for what, times in client.seconds.items():
            seconds[what] += times
    rows = {
        what: {
            "n": len(times),
            "p50": round(float(np.percentile(times, 50)), 3),
            "p95": round(np.percentile(times, 95), 3),
        }
        for what, times in seconds.items()
    }
    return {
        "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "command": " ".join(sys.argv),
        "sessions": options.sessions,
        "at_once": options.at_once,
        "errors": 0,
        "minutes": round((time.perf_counter() - started) / 60, 2),
        "seconds": rows,
        "memory_mib": {
            "after_10_sessions": memory[min(9, len(memory) - 1)],
            "at_the_end": memory[-1],
            "most": max(memory),
        },
    }


if __name__ == "__main__":
    main()
