"""Focal + Dice and focal alone, ours against the formulas of others: the same logits and target, in one process.

Prints milliseconds (median, and quartiles) of the forward pass with its graph and of forward + backward, the ratio to
ours compiled, and the largest memory in use beyond the inputs, in full-size float32 maps; writes JSON under
benchmarks/results. The contenders take turns, so that none meets a busier machine than the others. A busy one still
slows eager forms most, which wait for a core in every operation: where "fastest ×", the ratio of the fastest repeats,
is far from that of the medians, measure again when the machine is quiet.

    python benchmarks/losses.py [device] [--shapes 16x1x256x256 4x1x1024x1024 2x4x96x96x96]
                                [--dtypes float32 bfloat16 float16]
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from datetime import date
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import monai.losses
import torch
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

from segfocal.losses import DiceLoss, FocalLoss, WeightedSum
from segfocal.losses.fused import compiles

WARM_UP, REPEATS = 3, 15
GAMMA, ALPHA, WEIGHT = 2.0, 0.25, 20.0
REFERENCE = "ours compiled"


def ours(compile, dice=True):
    terms, weights = {"focal": FocalLoss(GAMMA, ALPHA)}, {"focal": WEIGHT if dice else 1.0}
    if dice:
        terms["dice"], weights["dice"] = DiceLoss(batch=True), 1.0
    criterion = WeightedSum(terms, weights, compile=compile)
    return lambda x, t: criterion(x, t).total


def powers_of_the_probability(x, t):
    """Focal with powers of sigmoid(x) and a logarithm guarded by 1e-12, batch Dice: SAM-Med2D's formula."""
    t = t.float()
    p = torch.sigmoid(x)
    positive = -ALPHA * (1 - p) ** GAMMA * t * torch.log(p + 1e-12)
    negative = -(1 - ALPHA) * p**GAMMA * (1 - t) * torch.log(1 - p + 1e-12)
    focal = (positive + negative).sum() / x.numel()
    return WEIGHT * focal + 1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1)


def power_of_one_minus_p_t(x, t):
    """Focal as cross-entropy times a power of 1 − p_t, batch Dice: torchvision's and fvcore's formula."""
    t = t.float()
    p = torch.sigmoid(x)
    p_t = p * t + (1 - p) * (1 - t)
    alpha_t = ALPHA * t + (1 - ALPHA) * (1 - t)
    focal = (alpha_t * F.binary_cross_entropy_with_logits(x, t, reduction="none") * (1 - p_t) ** GAMMA).mean()
    return WEIGHT * focal + 1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1)


def rivals_of_the_sum():
    """Return other people's 20 · focal + batch Dice by name."""
    both = monai.losses.DiceFocalLoss(
        sigmoid=True, gamma=GAMMA, alpha=ALPHA, batch=True, lambda_focal=WEIGHT, smooth_nr=1.0, smooth_dr=1.0
    )
    rivals = {
        "SAM-Med2D's formula": powers_of_the_probability,
        "torchvision's formula": power_of_one_minus_p_t,
        f"MONAI {version('monai')} DiceFocalLoss": lambda x, t: both(x, t.float()),
    }
    if find_spec("segmentation_models_pytorch"):
        from segmentation_models_pytorch import losses as smp

        focal, dice = smp.FocalLoss("binary", alpha=ALPHA, gamma=GAMMA), smp.DiceLoss("binary", smooth=1.0)
        name = f"smp {version('segmentation_models_pytorch')} FocalLoss + DiceLoss"
        rivals[name] = lambda x, t: WEIGHT * focal(x, t.float()) + dice(x, t.float())
    return rivals


def rivals_of_focal():
    """Return other people's focal loss by name."""
    focal = monai.losses.FocalLoss(gamma=GAMMA, alpha=ALPHA)
    rivals = {f"MONAI {version('monai')} FocalLoss": lambda x, t: focal(x, t.float())}
    if find_spec("kornia"):
        from kornia.losses import BinaryFocalLossWithLogits

        kornia = BinaryFocalLossWithLogits(alpha=ALPHA, gamma=GAMMA, reduction="mean")
        rivals[f"kornia {version('kornia')} BinaryFocalLoss"] = lambda x, t: kornia(x, t.float())
    return rivals


def contenders():
    """Return ours and every rival, eager and compiled, for each of the two jobs."""
    jobs = {"20 focal + Dice": (True, rivals_of_the_sum()), "focal alone": (False, rivals_of_focal())}
    table = {}
    for job, (dice, rivals) in jobs.items():
        table[job] = {REFERENCE: ours(True, dice), "ours eager": ours(False, dice)}
        for name, loss in rivals.items():
            table[job] |= {name: loss, f"{name}, compiled": torch.compile(loss)}
    return table


def measure(losses, x, t):
    """Return a row for each contender: its value, seconds of both kinds, peak memory, or why it has none."""
    rows, times = {}, {}
    for name, loss in losses.items():
        try:
            for _ in range(WARM_UP):
                value = loss(x, t)
                value.backward()
        except Exception as error:  # the compiler's errors share no base class with each other
            rows[name] = {"error": f"does not {'compile' if 'compiled' in name else 'run'}: {type(error).__name__}"}
            continue
        if name == REFERENCE and not compiles(x.device.type):
            rows[name] = {"error": "does not compile"}
            continue
        rows[name] = {"value": f"{value.item():.6g}"}
        times[name] = {"forward": [], "forward_backward": []}
    for _ in range(REPEATS):
        for name, kinds in times.items():
            kinds["forward"].append(seconds(lambda loss=losses[name]: loss(x, t), x))
            kinds["forward_backward"].append(seconds(lambda loss=losses[name]: loss(x, t).backward(), x))
    for name, kinds in times.items():
        rows[name] |= {kind: spread(values) for kind, values in kinds.items()}
        rows[name]["peak_maps"] = peak_maps(losses[name], x, t)
    return rows


def seconds(call, x):
    x.grad = None
    wait(x)
    start = time.perf_counter()
    result = call()
    wait(x)
    stop = time.perf_counter()
    del result  # the graph is freed off the clock
    return stop - start


def wait(x):
    if x.is_cuda:
        torch.cuda.synchronize()


def spread(values):
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return {"median": middle, "quartiles": [low, high], "fastest": min(values)}


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
        if event.name() == "[memory]":  # bytes taken, or less than zero for given back
            used += event.nbytes()
            most = max(most, used)
    return most / (4 * x.numel())


def copy_bandwidth(device, count=2**28):
    """Return bytes read and written a second by a large copy on the device."""
    source = torch.ones(count, device=device)
    destination = torch.empty_like(source)
    times = [seconds(lambda: destination.copy_(source), source) for _ in range(WARM_UP + REPEATS)][WARM_UP:]
    return 2 * source.nbytes / statistics.median(times)


def against_the_device(rows, x, t, copy):
    """Return what ours compiled reaches of a copy's bandwidth, and its ratio to MONAI's eager form."""
    took = rows[REFERENCE]["forward_backward"]["median"]
    moved = 3 * x.nbytes + 2 * t.nbytes  # logits and target read forward and backward, the gradient written
    eager = next(row for name, row in rows.items() if name.startswith("MONAI") and "compiled" not in name)
    return {
        "bytes_per_second": moved / took,
        "copy_bytes_per_second": copy,
        "share_of_copy": moved / took / copy,
        "times_as_fast_as_monai_eager": eager["forward_backward"]["median"] / took,
    }


def report(job, rows):
    """Print one job's table."""
    reference = rows[REFERENCE if "error" not in rows[REFERENCE] else "ours eager"]
    titles = (
        f"{'forward, ms (quartiles)':>28}{'×':>7}{'forward + backward, ms':>30}{'×':>7}{'fastest ×':>11}{'maps':>7}"
    )
    print(f"\n{job:36}{titles}")
    for name, row in rows.items():
        line = f"{name:36}{row.get('error', '')}"
        for kind in ("forward", "forward_backward") if "error" not in row else ():
            low, high = row[kind]["quartiles"]
            middle = row[kind]["median"]
            line += f"{1e3 * middle:11.2f} ({1e3 * low:.2f}–{1e3 * high:.2f})".rjust(28 + 2 * (kind != "forward"))
            line += f"{middle / reference[kind]['median']:7.2f}"
        if "error" not in row:
            fastest = row["forward_backward"]["fastest"] / reference["forward_backward"]["fastest"]
            line += f"{fastest:11.2f}{row['peak_maps']:7.1f}"
        print(line)


def commit():
    asked = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--exclude=*"], capture_output=True, text=True, check=False
    )
    return asked.stdout.strip() or "unknown"


def run(device, shape, dtype, copy):
    """Measure and print every contender for one shape and dtype; return what goes to the JSON file.

    copy: bytes a second of a large copy on the GPU, None on a CPU.
    """
    torch.manual_seed(0)
    torch._dynamo.reset()  # every shape is compiled anew: none inherits the generic code of an earlier one
    x = (torch.randn(shape, device=device) * 3).to(getattr(torch, dtype)).requires_grad_()
    t = (torch.rand(shape, device=device) < 0.01).to(torch.uint8)
    where = torch.cuda.get_device_name() if x.is_cuda else f"CPU, {torch.get_num_threads()} threads"
    load = os.getloadavg()[0]  # processes that want a core
    print(f"\n{list(shape)} {dtype} logits, uint8 target, {where}, load {load:.1f}, {REPEATS} repeats, × ours compiled")
    jobs, cuda = {}, {}
    for job, losses in contenders().items():
        jobs[job] = measure(losses, x, t)
        report(job, jobs[job])
        if copy and "error" not in jobs[job][REFERENCE]:
            cuda[job] = against_the_device(jobs[job], x, t, copy)
    if not cuda:
        cuda = "CUDA: not measured, " + ("not asked for" if torch.cuda.is_available() else "no GPU")
    print("\n" + (cuda if isinstance(cuda, str) else json.dumps(cuda, indent=2)))
    facts = {"date": str(date.today()), "machine": f"{platform.machine()}, {where}", "torch": torch.__version__}
    facts |= {"command": " ".join(["python", *sys.argv]), "commit": commit(), "shape": shape, "dtype": dtype}
    return facts | {"load": load, "repeats": REPEATS, "cuda": cuda, "jobs": jobs}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("device", nargs="?", default="cpu")
    parser.add_argument("--shapes", nargs="+", default=["16x1x256x256"], help="logits [b,k,*space], as 16x1x256x256")
    parser.add_argument("--dtypes", nargs="+", default=["float32"], choices=["float32", "bfloat16", "float16"])
    asked = parser.parse_args()
    device = torch.device(asked.device)
    copy = copy_bandwidth(device) if device.type == "cuda" else None
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    for shape in asked.shapes:
        for dtype in asked.dtypes:
            facts = run(device, tuple(map(int, shape.split("x"))), dtype, copy)
            out = results / f"losses_{device.type}_{dtype}_{shape}.json"
            out.write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
