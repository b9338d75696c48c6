"""Focal + Dice, ours against the formulas of others: the same logits and target, in one process.

Prints seconds for forward + backward (median), the ratio to ours compiled, and the largest memory in use beyond the
inputs, in full-size float32 maps; writes JSON under benchmarks/results.

    python benchmarks/losses.py [device] [dtype] [side] [batch]
"""

import json
import platform
import statistics
import subprocess
import sys
import time
from datetime import date
from importlib.metadata import version
from pathlib import Path

import torch
from monai.losses import DiceFocalLoss
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

from segfocal.losses import DiceLoss, FocalLoss, WeightedSum

REPEATS = 15
TERMS = {"focal": FocalLoss(2.0, 0.25), "dice": DiceLoss(batch=True)}


def ours(compile):
    criterion = WeightedSum(TERMS, {"focal": 20.0, "dice": 1.0}, compile=compile)
    return lambda x, t: criterion(x, t).total


def powers_of_the_probability(x, t):
    """Focal with powers of sigmoid(x) and a logarithm guarded by 1e-12, batch Dice: SAM-Med2D's formula."""
    t = t.float()
    p = torch.sigmoid(x)
    positive = -0.25 * (1 - p) ** 2 * t * torch.log(p + 1e-12)
    negative = -0.75 * p**2 * (1 - t) * torch.log(1 - p + 1e-12)
    focal = (positive + negative).sum() / x.numel()
    dice = 1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1)
    return 20 * focal + dice


def powers_of_one_minus_p_t(x, t):
    """Focal as cross-entropy times a power of 1 − p_t, batch Dice: torchvision's and fvcore's formula."""
    t = t.float()
    p = torch.sigmoid(x)
    p_t = p * t + (1 - p) * (1 - t)
    alpha_t = 0.25 * t + 0.75 * (1 - t)
    focal = (alpha_t * F.binary_cross_entropy_with_logits(x, t, reduction="none") * (1 - p_t) ** 2).mean()
    return 20 * focal + 1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1)


def contenders():
    monai = DiceFocalLoss(sigmoid=True, gamma=2.0, alpha=0.25, batch=True, lambda_focal=20.0)
    return {
        "ours compiled": ours(True),
        "ours eager": ours(False),
        "SAM-Med2D's formula": powers_of_the_probability,
        "torchvision's formula": powers_of_one_minus_p_t,
        f"MONAI {version('monai')} DiceFocalLoss": lambda x, t: monai(x, t.float()),
    }


def seconds(loss, x, t):
    times = []
    for _ in range(REPEATS + 3):
        x.grad = None
        wait(x)
        start = time.perf_counter()
        loss(x, t).backward()
        wait(x)
        times.append(time.perf_counter() - start)
    return statistics.median(times[3:])


def wait(x):
    if x.is_cuda:
        torch.cuda.synchronize()


def peak_maps(loss, x, t):
    """Return the largest memory in use beyond the inputs, in full-size float32 maps."""
    x.grad = None
    if x.is_cuda:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        loss(x, t).backward()
        return (torch.cuda.max_memory_allocated() - before) / (4 * x.numel())
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        loss(x, t).backward()
    used = most = 0
    for event in profiler.profiler.kineto_results.events():
        if event.name() == "[memory]":
            used += event.nbytes()
            most = max(most, used)
    return most / (4 * x.numel())


def commit():
    asked = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return asked.stdout.strip() or "unknown"


def main():
    device, dtype, side, batch = (*sys.argv[1:5], *("cpu", "float32", "256", "16")[len(sys.argv) - 1 :])
    torch.manual_seed(0)
    shape = (int(batch), 1, int(side), int(side))
    x = (torch.randn(shape, device=device) * 3).to(getattr(torch, dtype)).requires_grad_()
    t = (torch.rand(shape, device=device) < 0.01).to(torch.uint8)
    rows = {
        name: {"seconds": seconds(loss, x, t), "peak_maps": peak_maps(loss, x, t)}
        for name, loss in contenders().items()
    }
    fastest = rows["ours compiled"]["seconds"]
    where = torch.cuda.get_device_name() if x.is_cuda else f"CPU, {torch.get_num_threads()} threads"
    print(f"20 focal + Dice, forward + backward, {list(shape)} {dtype} logits, uint8 target, {where}")
    for name, row in rows.items():
        ratio = row["seconds"] / fastest
        print(f"{name:32} {1e3 * row['seconds']:9.2f} ms  {ratio:5.1f} ×   {row['peak_maps']:5.1f} maps")
    facts = {"date": str(date.today()), "machine": f"{platform.machine()}, {where}", "torch": torch.__version__}
    facts |= {
        "command": " ".join(["python", *sys.argv]),
        "commit": commit(),
        "shape": shape,
        "dtype": dtype,
        "rows": rows,
    }
    out = Path(__file__).parent / "results" / f"losses_{torch.device(device).type}_{dtype}_{side}.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(facts, indent=2) + "\n")


if __name__ == "__main__":
    main()
