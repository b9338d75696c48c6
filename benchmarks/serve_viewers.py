"""Sessions of 3D Slicer's and napari's client against `segfocal serve`: seconds a click, and the server's memory.

    python benchmarks/serve_viewers.py bundle=runs/x/bundle [--sessions 50] [--at-once 5] [--scan ct.nii.gz --label …]

Each session sends the scan, slices first as viewers do, draws a box, two points and a scribble on the slice where the
structure is largest, takes one back, begins anew with its own mask, clicks once more, leaves. With --slices auto-zoom
is off: prompts are answered on their slices alone; else every answer is carried through the volume.
"""

import os
import threading
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import nibabel as nib
import numpy as np
from nnInteractive.inference.remote import nnInteractiveRemoteInferenceSession
from serving import machine, options_of, percentiles, places, resident_mib, served, told


class Timed:
    """A viewer whose calls are timed by their names."""

    def __init__(self, address, seconds, lock):
        parts = urlsplit(address)
        self.seconds, self.lock = seconds, lock
        url, key = f"http://{parts.netloc}", parse_qs(parts.query)["token"][0]
        self.session = self("connect", lambda: nnInteractiveRemoteInferenceSession(url, api_key=key, read_timeout=600))

    def __call__(self, what, call):
        started = time.perf_counter()
        answer = call()
        with self.lock:
            self.seconds[what].append(time.perf_counter() - started)
        return answer


def session(timed, image, spacing, structure, corners, inside, *, carried):
    """Do what a person does with one scan; positions are [k,j,i]."""
    viewer, mask = timed.session, np.zeros(image.shape, dtype=np.uint8)
    timed("set_image", lambda: viewer.set_image(image[None], {"spacing": spacing, "structure": structure}))
    viewer.set_target_buffer(mask)
    viewer.set_do_autozoom(carried)
    box = [[low, high + 1] for low, high in zip(*corners, strict=True)]
    timed("box", lambda: viewer.add_bbox_interaction(box, include_interaction=True))
    for place in inside[:2]:
        timed("point", lambda place=place: viewer.add_point_interaction(place, include_interaction=True))
    k, j, i = inside[2]
    stroke = np.ones((1, 1, min(20, image.shape[2] - i)), dtype=np.uint8)
    span = [[k, k + 1], [j, j + 1], [i, i + stroke.shape[2]]]
    timed("scribble", lambda: viewer.add_scribble_interaction(stroke, include_interaction=True, interaction_bbox=span))
    assert timed("undo", viewer.undo)
    assert mask.any()
    begun = mask.copy()
    viewer.reset_interactions()
    timed("initial mask", lambda: viewer.add_initial_seg_interaction(begun))
    timed("point on it", lambda: viewer.add_point_interaction(inside[3], include_interaction=True))
    timed("release", viewer.close)


def main():
    parser = options_of(__doc__)
    parser.add_argument("--slices", action="store_true", help="prompts are answered on their slices alone")
    options = parser.parse_args()
    scan = nib.load(options.scan)
    image = np.ascontiguousarray(np.asanyarray(scan.dataobj).transpose())
    corners, inside = places(np.asanyarray(nib.load(options.label).dataobj), options.value)
    about = {
        "image": image,
        "spacing": [float(mm) for mm in scan.header.get_zooms()[2::-1]],
        "structure": options.structure,
        "corners": [corner[::-1] for corner in corners],
        "inside": [place[::-1] for place in inside],
        "carried": not options.slices,
    }
    with served(options) as (process, address, folder):
        report = measure(process, address, options, about)
        report["left_mib"] = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) >> 20
    told(report, options)


def measure(process, address, options, about):
    seconds, lock, memory, errors = defaultdict(list), threading.Lock(), [], []

    def run(_):
        try:
            session(Timed(address, seconds, lock), **about)
        except Exception as error:
            errors.append(repr(error))
        memory.append(round(resident_mib(process), 1))

    before, worked, started = round(resident_mib(process), 1), cpu_seconds(process), time.perf_counter()
    with ThreadPoolExecutor(options.at_once) as threads:
        list(threads.map(run, range(options.sessions)))
    clicks = [one for what in ("box", "point", "scribble", "point on it") for one in seconds[what]]
    rows = {what: percentiles(times) for what, times in {**seconds, "any click": clicks}.items()}
    return {
        **machine(),
        "client": version("nninteractive-client"),
        "errors": errors,
        "minutes": round((time.perf_counter() - started) / 60, 2),
        "servers_cpu_seconds_a_session": round((cpu_seconds(process) - worked) / options.sessions, 2),
        "seconds": rows,
        "memory_mib": {"before": before, "after_each_10": memory[9::10], "most": max(memory)},
    }


def cpu_seconds(process):
    """Return for how long a process ran on a processor, which does not depend on what else the machine does."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
