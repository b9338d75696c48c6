"""Scripted sessions against `segfocal serve`, some at once: seconds a click (p50, p95) and the server's memory.

    python benchmarks/serve.py bundle=runs/x/bundle [--sessions 50] [--at-once 5] [--scan data/demo/ct_b_image.nii.gz]

Each session opens a scan of its own (copies of one file), draws a box, two points and a scribble on the slice where the
structure is largest, takes one back, carries the answer to all slices, reads the changed part, saves, and closes. The
server is the command as users start it. Prints a table; --output writes it as JSON. The model's own speed is that of
benchmarks/prompted.py; here it counts what a person waits for.
"""

import http.client
import json
import shutil
import threading
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs, urlsplit

import nibabel as nib
import numpy as np
from serving import machine, options_of, percentiles, places, resident_mib, served, told


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
    options = options_of(__doc__).parse_args()
    corners, inside = places(np.asanyarray(nib.load(options.label).dataobj), options.value)

    def fill(folder):
        for number in range(options.sessions):
            shutil.copyfile(options.scan, folder / f"scan_{number:03d}.nii.gz")

    with served(options, fill) as (process, address, _):
        report = measure(process, address, options, corners, inside)
    told(report, options)


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
    rows = {what: percentiles(times) for what, times in seconds.items()}
    return {
        **machine(),
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
