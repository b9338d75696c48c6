"""Many scans on a cluster: nodes and driver killed on the way, throughput by workers, and what a case costs the driver.

    simulate    five Ray nodes on this machine, on loopback, one of them slow, one with a full disk: at a fifth of the
                scans a node is killed, at two fifths the driver (SIGKILL, begun again at once), at three fifths a
                node is added. Every good scan has one mask, that of a run in one process, byte for byte; the broken
                ones are explained; the full node is left out; what was begun twice
    throughput  scans an hour with 1 and 2 workers of one thread each, over the last 70 % of the scans
    claims      part=auto: ms that a case costs to claim, to look at what others did, and to give up
    memory      the most memory of a command that finds all scans done, by rows of its manifest

    python benchmarks/cluster.py [simulate|throughput|claims|memory …] [--scans 200] [--broken 2] [--folder DIR]

Needs the extra ray. Throughput means something on a quiet machine with two cores only.
"""

import argparse
import importlib.util
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

WAIT = {"RAY_raylet_start_wait_time_s": "300", "RAY_health_check_timeout_ms": "60000"}  # of a busy machine
os.environ |= WAIT | {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
_SEARCHED = [str(Path(__file__).resolve().parent), os.environ.get("PYTHONPATH")]
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, _SEARCHED))  # workers import node_faults
CODE = "import sys; from segfocal.cli.main import main; sys.exit(main())"
STORE = 100 << 20  # bytes of each node's shared memory


def predict(bundle, scans, output, *more):
    return [sys.executable, "-c", CODE, "predict", f"bundle={bundle}", f"input={scans}", f"output={output}", *more]


def make(folder, *, scans, broken, shape=(12, 11, 5), widths=(4, 8, 8), window=(16, 16)):
    """Make a bundle of random weights and scans of noise, some of them no scans; return both places."""
    import numpy as np

    from tests.random_bundle import MODEL, image, make_bundle
    from tests.scans import AFFINES, make_scan

    bundle = make_bundle(folder / "bundle", config=MODEL | {"widths": list(widths)}, window=window)
    for number in range(scans):
        array = image(number, shape) if number < 50 else np.roll(image(number % 50, shape), number, axis=0)
        make_scan(folder / "scans" / f"p{number:05}.nii.gz", array, list(AFFINES.values())[number % 3])
    for number in range(broken):
        (folder / "scans" / f"broken{number:05}.nii.gz").write_bytes(b"not a scan")
    return bundle, folder / "scans"


class Nodes:
    """Ray nodes of one core on this machine. faults: of nodes besides the `count` good ones."""

    def __init__(self, count, *, faults=()):
        from ray.cluster_utils import Cluster

        own = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": STORE}
        self.cluster = Cluster(initialize_head=True, head_node_args=own)
        self.added = [self.add() for _ in range(count - 1)]
        for fault in faults:
            self.add(env_vars={"NODE_FAULT": fault})

    def add(self, **options):
        return self.cluster.add_node(num_cpus=1, object_store_memory=STORE, **options)

    def kill(self):
        self.cluster.remove_node(self.added.pop(0), allow_graceful=False)


def entries(output):
    """Return the lines of the manifest and its parts that are whole."""
    files = [output / "manifest.jsonl", *(output / ".segfocal.parts").glob("*.jsonl")]
    texts = [file.read_text() for file in files if file.is_file()]
    return [json.loads(line) for text in texts for line in text.split("\n")[:-1] if line]


def wait_until(share, command, output, count):
    """Wait until a share of the scans has masks; say how many have."""
    while (made := len({entry["name"] for entry in entries(output) if entry["state"] == "done"})) < share * count:
        assert command.poll() is None, "the driver ended early"
        time.sleep(0.2)
    return made


def simulate(folder, *, scans, broken, say=print):
    """Run scans over nodes that are killed and added, and check what is left; return the facts."""
    bundle, inputs = make(folder, scans=scans, broken=broken)
    subprocess.run(predict(bundle, inputs, folder / "one"), check=True, stdout=subprocess.DEVNULL)
    nodes, output, began = Nodes(3, faults=("slow", "full")), folder / "masks", time.monotonic()
    log = (folder / "log.txt").open("a")
    where = ["cluster=ray", f"cluster.address={nodes.cluster.address}", "imports=node_faults"]
    command = predict(bundle, inputs, output, *where)
    first = subprocess.Popen(command, stdout=log)
    say(f"a node is killed after {wait_until(0.2, first, output, scans)} scans")
    nodes.kill()
    say(f"the driver is killed after {wait_until(0.4, first, output, scans)} scans")
    first.send_signal(signal.SIGKILL)
    first.wait()
    second = subprocess.Popen(command, stdout=log)
    say(f"a node is added after {wait_until(0.6, second, output, scans)} scans")
    nodes.add()
    assert second.wait() == 0
    seconds = time.monotonic() - began
    nodes.cluster.shutdown()
    left_out = (folder / "log.txt").read_text().count("is left out: it fails what others do")
    return checked(folder / "one", output, scans, broken) | {"left out": left_out, "seconds": round(seconds)}


def checked(one, output, scans, broken):
    """Compare masks and manifests of two runs; return what was made twice."""
    masks = {folder: {path.name: path.read_bytes() for path in folder.glob("*.nii.gz")} for folder in (one, output)}
    assert masks[one] == masks[output]
    assert len(masks[output]) == scans
    lines = entries(output)
    last = {entry["name"]: entry for entry in lines}
    assert Counter(entry["state"] for entry in last.values()) == {"done": scans, "failed": broken}
    assert all("whole NIfTI" in entry["message"] for entry in last.values() if entry["state"] == "failed")
    begun = Counter(entry["name"] for entry in lines if entry["state"] == "begun")
    done = Counter(entry["name"] for entry in lines if entry["state"] == "done")
    left = sorted(path.name for path in output.iterdir() if path.name.startswith(".segfocal.parts"))
    assert not left, left
    return {
        "masks": scans,
        "explained": broken,
        "begun again": sum(begun.values()) - len(begun),
        "done again": sum(done.values()) - len(done),
    }


def throughput(folder, *, scans, **_):
    """Return scans an hour by workers, and the ratio."""
    bundle, inputs = make(folder, scans=scans, broken=0, shape=(96, 96, 24), widths=(16, 32, 64), window=(96, 96))
    rates = {}
    for workers in (1, 2):
        output = folder / f"masks{workers}"
        command = predict(bundle, inputs, output, "engine=torch", "cluster=ray", f"cluster.actors={workers}")
        ended = []
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
            ended += [time.monotonic() for line in running.stdout if line.startswith("[")]
        tail = ended[int(0.3 * len(ended)) :]
        rates[workers] = 3600 * (len(tail) - 1) / (tail[-1] - tail[0])
    return {"an hour, 1 worker": round(rates[1]), "2 workers": round(rates[2]), "ratio": round(rates[2] / rates[1], 2)}


def claims(folder, **_):
    """Return ms a case: the claim, the look at sixteen other commands' parts, the release."""
    from segfocal.predict.inputs import Scan
    from segfocal.predict.manifest import PARTS, Manifest
    from segfocal.predict.parts import Claims

    (folder / PARTS).mkdir()
    scan = Scan("a.nii.gz", folder / "a.nii.gz")
    for number in range(16):
        Manifest(folder, "s", part=f"auto_{number}").add(scan, state="begun")
    mine, manifest = Claims(folder), Manifest(folder, "s", part="auto_own")
    manifest.read()
    taken = []
    for number in range(500):
        began = time.perf_counter()
        assert mine.take(str(number))
        manifest.refresh()
        mine.release(str(number))
        taken.append(1000 * (time.perf_counter() - began))
    return {"ms a case": round(statistics.median(taken), 2), "at most": round(max(taken), 2)}


def memory(folder, **_):
    """Return the most memory in MiB of a command that finds all done, by rows."""
    found = {}
    for rows in (200, 20_000):
        place = folder / str(rows)
        bundle, inputs = make(place, scans=1, broken=0)
        subprocess.run(predict(bundle, inputs, place / "masks"), check=True, stdout=subprocess.DEVNULL)
        scan, mask = inputs / "p00000.nii.gz", place / "masks" / "p00000.nii.gz"
        (entry,) = (one for one in entries(place / "masks") if one["state"] == "done")
        with (place / "masks" / "manifest.jsonl").open("a") as file:
            for number in range(1, rows):
                name = f"p{number:05}.nii.gz"
                os.link(scan, inputs / name)
                os.link(mask, mask.with_name(name))
                path = str(inputs / name)
                file.write(json.dumps(entry | {"name": name, "input": [path, *entry["input"][1:]]}) + "\n")
        began = time.monotonic()
        command = subprocess.Popen(predict(bundle, inputs, place / "masks"), stdout=subprocess.PIPE, text=True)
        said = command.stdout.read()
        _, status, used = os.wait4(command.pid, 0)
        assert status == 0
        assert f"{rows} done before, 0 to do" in said, said
        found[f"MiB, {rows} rows"] = round(used.ru_maxrss / 1024)
        found[f"s, {rows} rows"] = round(time.monotonic() - began, 1)
    return found


CHECKS = {"simulate": simulate, "throughput": throughput, "claims": claims, "memory": memory}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checks", nargs="*", choices=[*CHECKS, []], default=[])
    parser.add_argument("--scans", type=int, default=200)
    parser.add_argument("--broken", type=int, default=2)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    if options.folder:
        options.folder.mkdir(parents=True, exist_ok=True)
    without_ray = {"claims", "memory"}
    for name in options.checks or CHECKS:
        if importlib.util.find_spec("ray") is None and name not in without_ray:
            print(f"{name}: left out, Ray is not installed (extra ray)")
            continue
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            print(f"{name}: {CHECKS[name](Path(folder), scans=options.scans, broken=options.broken)}", flush=True)


if __name__ == "__main__":
    main()
