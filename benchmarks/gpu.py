"""Everything about CUDA that the project has, checked and timed on one GPU in at most so many minutes.

    python benchmarks/gpu.py [--minutes 8] [--steps 300] [--parts losses overlap …] [--out benchmarks/results]

Needs this repository and its pins, and one GPU; the scans are data/demo's. Prints a table, the ratio first (above 1:
ours is ahead), and writes JSON. Exit code 1 if a correctness line fails. Each part has a share of the minutes; one that
does not fit is listed as left out. A part that fails is a failed line, and the rest goes on. Without a GPU it says so
and runs the same code on the CPU with small sizes and few steps, in two minutes on two cores.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import asdict
from datetime import date
from importlib.metadata import version
from pathlib import Path

import torch
from gpu_checks import prediction, training, transfer
from gpu_checks.budget import Budget, Part, in_turn
from gpu_checks.compiled_training import compiled_training
from gpu_checks.loss_speed import loss_speed
from gpu_checks.row import HEADING

NOT_RUN = "not run on a GPU"
CPU_STEPS, GPU_STEPS = 6, 300
PARTS = (  # share: about the seconds on a large GPU; what cannot be interrupted comes late
    Part(name="unet", check=training.precisions_of("unet"), share=50),
    Part(name="sam_tiny", check=training.precisions_of("sam_tiny"), share=75),
    Part(name="sam_med2d", check=training.precisions_of("sam_med2d"), share=120, least=30),
    Part(name="scaler", check=training.scaler_skips, share=8),
    Part(name="record", check=training.memory_on_record, share=12),
    Part(name="overlap", check=transfer.overlap, share=8),
    Part(name="logits", check=prediction.same_logits, share=12),
    Part(name="predict", check=prediction.against_monai, share=60),
    Part(name="out of memory", check=prediction.halving, share=15),
    Part(name="deterministic", check=training.repeatable, share=40, least=20),
    Part(name="losses", check=loss_speed, share=50, least=20),
    Part(name="compiled predict", check=prediction.compiled, share=40, least=20),
    Part(name="compiled training", check=compiled_training, share=50, least=20),
)


def choose_device():
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", torch.cuda.current_device())


def facts_of(device):
    """Return what a reader needs to repeat the run."""
    cuda = device.type == "cuda"
    where = torch.cuda.get_device_name(device) if cuda else f"CPU, {torch.get_num_threads()} threads; {NOT_RUN}"
    made = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    facts = {"date": str(date.today()), "machine": f"{platform.machine()}, {where}", "torch": torch.__version__}
    facts |= {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version() if cuda else None}
    facts |= {"monai": version("monai"), "commit": made.stdout.strip() or "unknown"}
    facts |= {"load": os.getloadavg()[0]}  # processes that want a core
    return facts | {"command": " ".join(["python", *sys.argv])}


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [part.name for part in PARTS]
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--steps", type=int, help=f"of training, ≥ 2; {GPU_STEPS} on a GPU, {CPU_STEPS} on a CPU")
    parser.add_argument("--parts", nargs="+", choices=names, default=names, metavar="PART", help=", ".join(names))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results", help="folder of the JSON file")
    asked = parser.parse_args(arguments)
    if asked.steps is not None and asked.steps < 2:
        parser.error("--steps must be at least 2")
    return asked


def main(arguments=None):
    """Run the parts; return the exit code."""
    asked, begun, device = parse(arguments), time.monotonic(), choose_device()
    full = device.type == "cuda"
    steps = asked.steps or (GPU_STEPS if full else CPU_STEPS)
    facts = facts_of(device)
    print(facts["machine"] if full else f"{NOT_RUN}: torch sees none; its CPU half follows, small, in {steps} steps")
    print(HEADING, flush=True)
    rows = []
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the table says what was found
        budget = Budget(seconds=60 * asked.minutes, steps=steps, full=full, folder=Path(folder))
        parts = [part for part in PARTS if part.name in asked.parts]
        for row in in_turn(parts, device, budget):
            rows.append(row)
            print(row, flush=True)
    seconds = time.monotonic() - begun
    counts = {verdict: sum(row.verdict == verdict for row in rows) for verdict in ("pass", "fail", "left out")}
    print(", ".join(f"{count} {verdict}" for verdict, count in counts.items()) + f", {seconds:.0f} s")
    facts |= {"minutes": asked.minutes, "steps": steps, "seconds": seconds, "rows": [asdict(row) for row in rows]}
    asked.out.mkdir(parents=True, exist_ok=True)
    name = "gpu_cuda.json" if full else "gpu_cpu_half.json"
    (asked.out / name).write_text(json.dumps(facts, indent=2, ensure_ascii=False, default=str) + "\n")
    return 1 if counts["fail"] else 0


if __name__ == "__main__":
    sys.exit(main())
