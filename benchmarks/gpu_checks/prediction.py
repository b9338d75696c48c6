"""Sliding windows on the GPU: the CPU's logits, MONAI's time, compiled, and with too little memory for a batch."""

from __future__ import annotations

import copy
import statistics
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import mkdtemp

import inference
import nibabel as nib
import numpy as np
import torch
from torch import Tensor, nn

from gpu_checks.budget import Budget, LeftOut, Part, in_turn
from gpu_checks.gauge import Gauge, gauge
from gpu_checks.row import Row, judged
from segfocal.inference.predictor import Predictor
from segfocal.inference.sliding.model_input import ModelInput
from segfocal.inference.sliding.sliding_options import Precision, SlidingOptions
from segfocal.io import nifti

NETWORKS = ("sam_tiny", "unet")
RIVALS = {"monai": "MONAI SlidingWindowInferer", "loop": "MONAI SliceInferer"}
REPEATS = 3
OVERLAP = 0.25  # MONAI's default
TF32_CLOSE = 1e-2  # the same of products to 10 bits, as predict has them
CLOSE = {"fp32": 1e-3, "bf16": 0.1, "fp16": 0.02}  # of the largest logit; on a CPU bf16 is 0.015 to 0.043 away


def asked_for(network: str, device: torch.device, contender: str = "ours") -> Namespace:
    """Return what benchmarks/inference.py asks of its command line; MONAI blends on the device, its quickest way."""
    return Namespace(
        network=network,
        contender=contender,
        classes=1,
        memory=False,
        overlap=OVERLAP,
        spacing=None,
        device=str(device),
        blend_on=str(device),
    )


def network_of(name: str, device: torch.device) -> nn.Module:
    """Return a network of benchmarks/inference.py."""
    network, _ = inference.network_of(asked_for(name, device))
    return network


def same_logits(device: torch.device, budget: Budget) -> list[Row]:
    """Check that the device's logits of a scan are the CPU's, in float32 without TF32, and near them in half."""
    parts = [Part(name=name, check=partial(_same_logits, name)) for name in NETWORKS]
    return list(in_turn(parts, device, budget))


def _same_logits(name: str, device: torch.device, budget: Budget) -> list[Row]:
    exact_products()
    network, scan = network_of(name, device), make_scan(budget, slices=2, side=256)
    cpu = torch.device("cpu")
    true = logits_of(predictor_of(network, cpu), scan)
    rows = []
    for precision, tolerance in CLOSE.items():
        if precision == "fp16" and device.type == "cpu":
            rows.append(Row(name=precision, verdict="left out", found="fp16 runs on a GPU only"))
            continue
        far = distance(logits_of(predictor_of(network, device, precision=precision), scan), true)
        found = f"{far:.1e} of the largest logit from the CPU's in fp32"
        rows.append(Row(name=precision, verdict=judged(far <= tolerance), found=found, numbers={"distance": far}))
    return rows


def against_monai(device: torch.device, budget: Budget) -> list[Row]:
    """Time a scan on disk to a mask on disk against MONAI's inferers, in turns."""
    parts = [Part(name=name, check=partial(_against_monai, name), least=10.0) for name in NETWORKS]
    return list(in_turn(parts, device, budget))


def _against_monai(name: str, device: torch.device, budget: Budget) -> list[Row]:
    scan = make_scan(budget, slices=100 if budget.full else 1, side=512 if budget.full else 256)
    made = inference.network_of(asked_for(name, device))
    contenders = ("ours", *RIVALS)
    gauges: dict[str, list[Gauge]] = {contender: [] for contender in contenders}
    for turn in range((REPEATS if budget.full else 1) + 1):  # the first warms up
        if turn and budget.left() <= 0:
            break
        for contender in contenders:
            segment = inference.ours if contender == "ours" else inference.monai
            mask = mask_of(scan, contender)
            mask.unlink(missing_ok=True)  # of the turn before
            with gauge(device) as found:
                segment(scan, mask, made, asked_for(name, device, contender))
            gauges[contender] += [found] if turn else []
    if not gauges["ours"]:
        raise LeftOut(f"its time of {budget.seconds:.0f} s was over when all were warm")
    middle = {contender: statistics.median(g.seconds for g in found) for contender, found in gauges.items()}
    words = {contender: f"{middle[contender]:.2f} s {found[-1].memory}".rstrip() for contender, found in gauges.items()}
    shape = "×".join(map(str, nib.load(scan).shape))
    rows = [Row(name="ours", found=f"{words['ours']}, {shape} voxels", numbers={"seconds": middle["ours"]})]
    for contender, title in RIVALS.items():
        differ = _differing(scan, "ours", contender)
        numbers = {"seconds": middle[contender], "gpu_gib": gauges[contender][-1].gib, "differing_voxels": differ}
        found = f"{words[contender]}, {differ:.1e} of the voxels differ"
        rows.append(Row(name=title, ratio=middle[contender] / middle["ours"], found=found, numbers=numbers))
    return rows


def _differing(scan: Path, *contenders: str) -> float:
    first, second = (np.asanyarray(nib.load(mask_of(scan, name)).dataobj) for name in contenders)
    return float((first != second).mean())


def mask_of(scan: Path, contender: str) -> Path:
    """Return where a contender writes its mask."""
    return scan.with_name(f"{contender}.nii.gz")


def compiled(device: torch.device, budget: Budget) -> list[Row]:
    """Check that predict's compile=true compiles, answers alike, and say what it gains."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    name = "unet" if budget.full else "sam_tiny"
    network = network_of(name, device)
    scan = make_scan(budget, slices=20 if budget.full else 1, side=512 if budget.full else 256)
    took, answers = {}, {}
    for compile in (False, True):
        predictor = predictor_of(network, device, compile=compile)
        times = []
        for _ in range(3):
            with gauge(device) as found:
                answers[compile] = logits_of(predictor, scan)
            times.append(found.seconds)
        took[compile] = times
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]  # counted once a graph has been compiled
    far = distance(answers[True], answers[False])
    ratio = min(took[False]) / min(took[True])
    found = f"{name}, {graphs} graphs, {far:.1e} of the largest logit apart; first scan {took[True][0]:.1f} s, "
    found += f"then {min(took[True]):.2f} s"
    holds = graphs > 0 and far <= TF32_CLOSE
    return [Row(verdict=judged(holds), ratio=ratio, found=found, numbers={"seconds": took[True], "eager": took[False]})]


def halving(device: torch.device, budget: Budget) -> list[Row]:
    """Check that a batch of windows that memory does not hold is halved, with the answer of small batches."""
    exact_products()
    few, many = (32, 512) if budget.full else (1, 8)
    scan = make_scan(budget, slices=24 if budget.full else 1, side=512 if budget.full else 256)
    network = network_of("unet", device)
    predictors = {size: predictor_of(network, device, batch_size=size) for size in (few, many)}
    peaks, answers = {}, {}
    for size, predictor in predictors.items():
        with gauge(device) as found:
            answers[size] = logits_of(predictor, scan)
        peaks[size] = found.gib or float(size)  # a CPU counts windows
    scarce = predictor_of(network, device, batch_size=many)
    with scarce_memory(scarce, device, (peaks[few] + peaks[many]) / 2):
        answer = logits_of(scarce, scan)
    far, reached = distance(answer, answers[few]), scarce.batching.size
    found = f"batches of {many} windows became {reached}; {far:.1e} of the largest logit from batches of {few}"
    return [
        Row(
            verdict=judged(reached < many and far <= CLOSE["fp32"]),
            found=found,
            numbers={"peaks": list(peaks.values())},
        )
    ]


@contextmanager
def scarce_memory(predictor: Predictor, device: torch.device, most: float) -> Iterator[None]:
    """Let the GPU have no more than `most` GiB; on a CPU let the network fail, as torch does, above so many windows."""
    if device.type == "cpu":
        predictor.models = [partial(_of_few, model, int(most)) for model in predictor.models]
        yield
        return
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(device).total_memory / 2**30
    torch.cuda.set_per_process_memory_fraction(min(1.0, most / total), device)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)


def _of_few(model: Callable[[Tensor], Tensor], most: int, batch: Tensor) -> Tensor:
    if len(batch) > most:
        raise torch.OutOfMemoryError(f"{len(batch)} windows")
    return model(batch)


def predictor_of(
    network: nn.Module,
    device: torch.device,
    *,
    precision: Precision = "fp32",
    batch_size: int = inference.BATCH,
    compile: bool = False,
) -> Predictor:
    """Return a predictor with a copy of the network on the device."""
    sliding = SlidingOptions(overlap=OVERLAP, batch_size=batch_size, precision=precision, compile=compile)
    bundle = inference.bundle_of(copy.deepcopy(network), {}, asked_for("", device))
    return Predictor([bundle], sliding=sliding, device=device)


@torch.no_grad()
def logits_of(predictor: Predictor, scan: Path) -> Tensor:
    """Return the blended logits [k,d,h,w] of a scan, on the CPU."""
    bundle = predictor.bundle
    image = ModelInput(nifti.read_stored(scan), bundle.grid, bundle.intensity)
    return torch.cat([slab.logits.cpu() for slab in predictor.slabs(image)], dim=1)


def exact_products() -> None:
    """Compute in float32 throughout; `settings_restored` brings TF32 back."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False


def distance(logits: Tensor, true: Tensor) -> float:
    """Return the largest difference as a share of the largest logit; infinite where a logit is not finite."""
    if not bool(logits.isfinite().all()):
        return float("inf")
    return ((logits - true).abs().max() / true.abs().max()).item()


def make_scan(budget: Budget, *, slices: int, side: int) -> Path:
    """Write a scan of the demo's slices into a new folder; return its path."""
    return inference.make_scan(mkdtemp(dir=budget.folder), slices, side)
