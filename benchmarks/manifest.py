"""A manifest of very many scans: seconds and memory of what `predict` does with it besides segmenting.

A folder of so many scans is made up, none of which is on disk, and a manifest as a finished run leaves it: three lines
a scan. Each measurement is made in a process of its own; its memory is the peak beyond what the process had before.
Seconds are those on a core, which other work on the machine hardly lengthens; a line's milliseconds are on the clock.

    read       all lines, the place of the last of each scan kept
    settled    each scan asked whether it is done: what a run does that finds nothing to do. Looking at the scans'
               files, which a disk does, is left out: their state is made up. Its memory has the list of scans in it
    added      a line added and on disk, the mean of 1,000

    python benchmarks/manifest.py [--scans 10000 100000 1000000]
"""

import argparse
import json
import multiprocessing
import platform
import subprocess
import tempfile
import time
from datetime import date
from pathlib import Path
from unittest import mock

from segfocal.memory import forget_peak, peak_gib
from segfocal.predict import manifest as manifests
from segfocal.predict.inputs import Scan
from segfocal.predict.manifest import MANIFEST, Manifest

SIGNATURE, FOLDER = "0123456789abcdef", "/data/archive/2026/studies"
SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


def name_of(number):
    return f"site_{number % 40:02d}/patient_{number:07d}/ct.nii.gz"


def state_of(*paths):
    return [fact for path in paths for fact in (str(path), 41_943_040, 1_790_000_000_000_000_000)]


def listed_scans(count):
    return [Scan(name_of(number), Path(FOLDER) / name_of(number)) for number in range(count)]


def lines_of(number):
    """Return the three lines that a scan leaves."""
    name = name_of(number)
    known = {"input": state_of(f"{FOLDER}/{name}"), "signature": SIGNATURE}
    hashes = {file: SHA256 for file in ("ct.nii.gz", "ct.json")}
    yield {"name": name, "state": "begun", **known, "sha256": {}}
    yield {"name": name, "state": "writing", **known, "sha256": {}}
    yield {"name": name, "state": "done", **known, "sha256": hashes, "seconds": 9.71, "peak_gib": 0.912}


def write_manifest(path, scans):
    lines = "".join(json.dumps(entry) + "\n" for entry in lines_of(0)).split(name_of(0))
    with path.open("w") as file:
        for number in range(scans):
            file.write(name_of(number).join(lines))


def opened(path):
    manifest = Manifest(path.parent, SIGNATURE)
    manifest.read()
    return manifest


def added(path, scans):
    """Return the milliseconds of a line that is added to a manifest and on disk."""
    manifest, listed = opened(path), listed_scans(1000)
    started = time.perf_counter()
    for scan in listed:
        manifest.add(scan, state="begun")
    return (time.perf_counter() - started) / len(listed) * 1000


def read(path, scans):
    started = time.process_time()
    manifest = opened(path)
    seconds = time.process_time() - started
    assert not manifest.has_failed(name_of(scans - 1))
    return seconds


def settled(path, scans):
    """Return the seconds in which every scan is found done, once the manifest is read."""
    listed, manifest = listed_scans(scans), opened(path)
    with mock.patch.object(Path, "is_file", return_value=True):
        started = time.process_time()
        done = sum(manifest.is_settled(scan, path.parent / scan.name, retry=True) for scan in listed)
        seconds = time.process_time() - started
    assert done == scans
    return seconds


def measured(task, path, scans):
    """Run a task in a process of its own; return its answer and the GiB that it took."""
    with multiprocessing.get_context("spawn").Pool(1) as one:
        return one.apply(in_process, (task, path, scans))


def in_process(task, path, scans):
    forget_peak()
    before = peak_gib()
    with mock.patch.object(manifests, "state_of", state_of):
        answer = task(path, scans)
    return round(answer, 4), round(peak_gib() - before, 4)


def row(scans):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / MANIFEST
        write_manifest(path, scans)
        found = {"lines": 3 * scans, "mebibytes": round(path.stat().st_size / 2**20, 1)}
        for task in (read, settled, added):
            answer, gib = measured(task, path, scans)
            found |= {f"{task.__name__}_{'ms' if task is added else 'seconds'}": answer, f"{task.__name__}_gib": gib}
        return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scans", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "manifest.json")
    asked = parser.parse_args()
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True).stdout.strip()
    rows = {}
    for scans in asked.scans:
        rows[f"{scans} scans"] = row(scans)
        print(scans, rows[f"{scans} scans"], flush=True)
    about = {
        "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, CPU",
        "work": "manifests of made-up scans, three lines each",
        "command": "python benchmarks/manifest.py --scans " + " ".join(map(str, asked.scans)),
        "commit": commit,
        "rows": rows,
    }
    asked.output.write_text(json.dumps(about, indent=2) + "\n")


if __name__ == "__main__":
    main()
