"""Sliding-window inference, ours against MONAI's: the same 2-D network, windows and weights, in one process.

Prints a table with ratios and writes JSON beside it under benchmarks/results. Peak memory is what the process grew by
over its size before the call, read from the operating system, each contender in a process of its own.

    python benchmarks/sliding_window.py [slices] [side]
"""

import json
import multiprocessing
import platform
import resource
import statistics
import subprocess
import sys
import time
from datetime import date
from importlib.metadata import version
from pathlib import Path

import torch
from monai.inferers import sliding_window_inference

from segfocal.inference.blend import sweep
from segfocal.models import sam_tiny

WINDOW, OVERLAP, BATCH, REPEATS = 128, 0.5, 8, 3


def ours(image, network):
    """Blend slab by slab, keep labels only, as `predict` does."""
    slabs = sweep(image, network, window=(1, WINDOW, WINDOW), overlap=OVERLAP, batch_size=BATCH)
    return torch.cat([(slab.logits[0] > 0).to(torch.uint8) for slab in slabs])


def monai(image, network):
    slices = image.transpose(0, 1)
    logits = sliding_window_inference(slices, (WINDOW, WINDOW), BATCH, network, overlap=OVERLAP, mode="gaussian")
    return (logits[:, 0] > 0).to(torch.uint8)


@torch.no_grad()
def measure(contender, slices, side, queue):
    torch.manual_seed(0)
    network, image = sam_tiny().eval(), torch.rand(1, slices, side, side)
    contender(image[:, :2], network)  # warm-up
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        contender(image, network)
        seconds.append(time.perf_counter() - start)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    queue.put({"seconds": statistics.median(seconds), "peak_mib": grown})


def commit():
    asked = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return asked.stdout.strip() or "unknown"


def main():
    slices, side = (int(v) for v in (*sys.argv[1:3], *("40", "256")[len(sys.argv) - 1 :]))
    context = multiprocessing.get_context("spawn")
    results = {}
    for contender in (ours, monai):
        queue = context.Queue()
        process = context.Process(target=measure, args=(contender, slices, side, queue))
        process.start()
        results[contender.__name__] = queue.get()
        process.join()
    ratio = results["monai"]["seconds"] / results["ours"]["seconds"]
    threads = torch.get_num_threads()
    print(f"{slices} slices of {side}×{side}, window {WINDOW}, overlap {OVERLAP}, sam_tiny, {threads} threads")
    for name, row in results.items():
        print(f"{name:>6}  {row['seconds']:7.2f} s  {row['peak_mib']:7.0f} MiB above the input")
    print(f"ours is {ratio:.2f} times as fast as MONAI {version('monai')}")
    facts = {
        "date": str(date.today()),
        "machine": f"{platform.machine()}, {threads} threads",
        "command": " ".join(["python", *sys.argv]),
        "commit": commit(),
        "torch": torch.__version__,
        "monai": version("monai"),
        "slices": slices,
        "side": side,
        "ratio": ratio,
        **results,
    }
    out = Path(__file__).parent / "results" / "sliding_window.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(facts, indent=2) + "\n")


if __name__ == "__main__":
    main()
