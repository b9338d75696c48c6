"""Training as a user's command does it: in three precisions, with the fp16 scaler, repeatable, on the record."""

from __future__ import annotations

import hashlib
import json
import math
import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch
import train
from accelerate.optimizer import AcceleratedOptimizer

from gpu_checks.budget import Budget, LeftOut, Part, in_turn, one_line, silent
from gpu_checks.gauge import Gauge, gauge, wait
from gpu_checks.row import Row, judged
from segfocal.engine.health import Health
from segfocal.engine.loop import train_loop, train_steps
from segfocal.engine.plan import Plan
from segfocal.engine.ready import ready_run
from segfocal.engine.record import Record
from segfocal.engine.run import Run
from segfocal.engine.validate import mean_dice, validate

PRECISIONS = ("fp32", "bf16", "fp16")
JUDGED_FROM = 300  # steps, with which Dice of different roundings can be compared
DICE_TOLERANCE = 0.02
SMALL = {  # what a CPU trains in seconds
    "sam_tiny": ["model.width=48", "model.depth=1", "model.decoder_width=32", "data.window=[32,32]"],
    "unet": ["model.widths=[8,16,32]", "data.window=[32,32]"],
    "sam_med2d": ["model.image_size=64", "data.window=[64,64]", "train.batch_size=2", "train.steps=2"],
}
COARSE = "data.spacing_mm=[6,6]"


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What a training run came to.

    Args:
        losses: of each step.
        images_per_second: without the first steps.
        gauge: of all steps.
        skipped: steps that the fp16 scaler left out.
        finite: whether all weights are.
        digest: of all weights, bit for bit; "" if not asked for.
        dice: of the held-out demo scan; NaN if not asked for.
    """

    losses: tuple[float, ...]
    images_per_second: float
    gauge: Gauge
    skipped: int
    finite: bool
    digest: str
    dice: float


def precisions_of(model: str) -> Callable[[torch.device, Budget], list[Row]]:
    """Return the check that trains a model in fp32, bf16 and fp16 and compares their Dice and speed."""

    def check(device: torch.device, budget: Budget) -> list[Row]:
        results: dict[str, Trained] = {}
        parts = [Part(name=name, check=partial(_in_precision, model, name, results)) for name in PRECISIONS]
        return list(in_turn(parts, device, budget))

    return check


def _in_precision(
    model: str, precision: str, results: dict[str, Trained], device: torch.device, budget: Budget
) -> list[Row]:
    if precision == "fp16" and device.type == "cpu":
        raise LeftOut("fp16 trains on a GPU only")
    found = results[precision] = trained(
        plan_for(model, device, budget, f"train.precision={precision}"), device, budget, judge=True
    )
    first, last = found.losses[0], found.losses[-1]
    words = [f"{found.images_per_second:.1f} images/s", found.gauge.memory, f"loss {first:.3f} to {last:.3f}"]
    words += [f"{found.skipped} steps skipped by the scaler"] if precision == "fp16" else []
    plain = results.get("fp32")
    rows = [
        Row(
            verdict=judged(found.finite and all(map(math.isfinite, found.losses))),
            ratio=found.images_per_second / plain.images_per_second if plain else None,
            found="finite; " + ", ".join(filter(None, words)) if found.finite else "weights that are not finite",
            numbers={"images_per_second": found.images_per_second, "gpu_gib": found.gauge.gib, "losses": found.losses},
        )
    ]
    return rows if precision == "fp32" else [*rows, _compared(found, plain)]


def _compared(found: Trained, plain: Trained | None) -> Row:
    """Return the line that Dice is that of fp32; it is judged after enough steps only."""
    if plain is None:
        return Row(name="Dice", verdict="left out", found="no fp32 to compare with")
    apart, steps = abs(found.dice - plain.dice), len(found.losses)
    text = f"{found.dice:.3f} against {plain.dice:.3f} in fp32 after {steps} steps"
    numbers = {"dice": found.dice, "dice_fp32": plain.dice, "steps": steps}
    if steps < JUDGED_FROM:
        return Row(name="Dice", found=f"{text}; judged from {JUDGED_FROM} steps on", numbers=numbers)
    return Row(name="Dice", verdict=judged(apart <= DICE_TOLERANCE), found=text, numbers=numbers)


def plan_for(model: str, device: torch.device, budget: Budget, *options: str) -> Plan:
    """Return the plan of a model on the demo scans, with the sizes and steps of the budget; the last option counts."""
    given = [f"train.steps={budget.steps}", "train.validate_every=0", f"cache={budget.folder / 'prepared'}"]
    given += ["train.precision=fp32"]  # unless an option says another
    given += ["train.device=cpu"] if device.type == "cpu" else []
    given += [] if budget.full else [*SMALL[model], COARSE]
    chosen = {option.partition("=")[0]: option for option in [*given, *options]}  # Hydra takes each key once
    return train.plan_of(model, list(chosen.values()))


def trained(plan: Plan, device: torch.device, budget: Budget, *, judge: bool = False, digest: bool = False) -> Trained:
    """Train by a plan without a record; LeftOut where the budget does not hold all steps.

    Args:
        plan: what to train.
        device: what the plan trains on.
        budget: whose time is looked at in every step.
        judge: segment the held-out scan for its Dice, too.
        digest: of the weights, too.
    """
    with ready_run(plan, Path(mkdtemp(dir=budget.folder))) as ready:
        run = ready.run
        with gauge(device) as found:
            losses, rate = _losses_and_rate(run, ready.dataset, device, budget)
        weights = run.accelerator.unwrap_model(run.task).model.state_dict()
        scores = validate(run.bundle(), plan.cases.of("val"), device=device, fully=False) if judge else []
        return Trained(
            losses=losses,
            images_per_second=rate * plan.settings.batch_size,
            gauge=found,
            skipped=run.state.skipped,
            finite=all(bool(tensor.isfinite().all()) for tensor in weights.values()),
            digest=_digest(weights) if digest else "",
            dice=mean_dice(scores) if scores else math.nan,
        )


def _losses_and_rate(run: Run, dataset: Any, device: torch.device, budget: Budget) -> tuple[tuple[float, ...], float]:
    """Make all steps; return the loss of each, and steps a second after the first ones."""
    steps = run.plan.settings.steps
    warm = min(20, max(1, steps // 3))
    losses: list[float] = []
    begun = budget.clock()
    for row in train_steps(run, dataset, Health(lambda _: None, device=device)):
        losses.append(row["loss"])
        if len(losses) == warm:
            wait(device)
            begun = budget.clock()
        elif len(losses) == 2 * warm:
            _check_fits(steps, (budget.clock() - begun) / warm * (steps - 2 * warm), budget)
        if budget.left() <= 0:
            raise LeftOut(f"stopped after {len(losses)} of {steps} steps, its time of {budget.seconds:.0f} s was over")
    wait(device)
    return tuple(losses), (len(losses) - warm) / max(budget.clock() - begun, 1e-9)


def _check_fits(steps: int, seconds: float, budget: Budget) -> None:
    if seconds > budget.left():
        raise LeftOut(f"the rest of {steps} steps would take {seconds:.0f} s, {budget.left():.0f} s are left")


def _digest(weights: dict[str, torch.Tensor]) -> str:
    total = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        total.update(name.encode())
        total.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def _unfuse(optimizer: torch.optim.Optimizer) -> None:
    """Make an optimiser of a CPU step as on a GPU: its fused form would skip steps by itself, and nobody count them."""
    optimizer._step_supports_amp_scaling = False
    for group in optimizer.param_groups:
        group["fused"] = None


def scaler_skips(device: torch.device, budget: Budget) -> list[Row]:
    """Check that steps whose scaled gradient overflows are counted, and change neither weights nor learning rate.

    The scaler begins far too high and halves at each overflow, so how far it came down says how many there were. A CPU
    has no fp16 training: there the same scaler is put into a run in fp32.
    """
    cuda = device.type == "cuda"
    options = ["train.precision=fp16"] if cuda else ["loss.weights.focal=100"]  # overflows float32, too
    steps, start = min(budget.steps, 40), 2.0 ** (28 if cuda else 126)
    plan = plan_for("sam_tiny", device, budget, f"train.steps={steps}", "train.schedule=constant", *options)
    with ready_run(plan, Path(mkdtemp(dir=budget.folder))) as ready:
        run = ready.run
        if not cuda:
            run.accelerator.scaler = torch.amp.GradScaler("cpu")
            _unfuse(run.optimizer.optimizer)
            run.optimizer = AcceleratedOptimizer(run.optimizer.optimizer, scaler=run.accelerator.scaler)
        scaler = run.accelerator.scaler
        scaler.load_state_dict({**scaler.state_dict(), "scale": start})
        moved, before, skipped = [], _parameters(run), 0
        for row in train_steps(run, ready.dataset, Health(lambda _: None, device=device)):
            after = _parameters(run)
            moved.append(not torch.equal(before, after))
            before, skipped = after, row["skipped"]
        halvings = round(math.log2(start / scaler.get_scale()))
    still = len(moved) - sum(moved)
    holds = skipped == halvings == still >= 1 and run.schedule.last_epoch == len(moved) - halvings
    holds = holds and (still < len(moved) or not budget.full)  # few steps may all be skipped
    found = f"{skipped} of {len(moved)} steps counted as skipped, {still} moved no weight, {halvings} halved the scale"
    return [Row(verdict=judged(holds), found=found, numbers={"skipped": skipped, "halvings": halvings})]


def _parameters(run: Run) -> torch.Tensor:
    return torch.cat([p.detach().flatten().clone() for p in run.task.parameters() if p.requires_grad])


def repeatable(device: torch.device, budget: Budget) -> list[Row]:
    """Check that train.deterministic=true gives the same weights twice; an operation that is refused is named."""
    parts = [Part(name=model, check=partial(_twice, model)) for model in ("sam_tiny", "unet")]
    return list(in_turn(parts, device, budget))


def _twice(model: str, device: torch.device, budget: Budget) -> list[Row]:
    digests = apart(device, digests_of, model, device, budget)
    found = f"weights {digests[0][:12]} and {digests[1][:12]} after {min(budget.steps, 20)} steps"
    return [Row(verdict=judged(digests[0] == digests[1]), found=found)]


def digests_of(model: str, device: torch.device, budget: Budget) -> list[str]:
    """Return the digest of the weights of each of two equal runs."""
    options = [f"train.steps={min(budget.steps, 20)}", "train.deterministic=true"]
    return [trained(plan_for(model, device, budget, *options), device, budget, digest=True).digest for _ in range(2)]


def apart(device: torch.device, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function, on a GPU in a process of its own: cuBLAS reads its workspace once, when it is first used."""
    if device.type == "cpu":
        return function(*arguments)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_told, function, arguments).result()


def _told(function: Callable[..., Any], arguments: Sequence[Any]) -> Any:
    """Call a function; an error, which might not survive the way to another process, becomes a line of text."""
    try:
        with silent():
            return function(*arguments)
    except LeftOut:
        raise
    except Exception as error:
        raise RuntimeError(one_line(error)) from None


def memory_on_record(device: torch.device, budget: Budget) -> list[Row]:
    """Check that each row of a run's record has the most of the GPU's memory so far, and on a CPU none."""
    folder = Path(mkdtemp(dir=budget.folder))
    plan = plan_for("sam_tiny", device, budget, f"train.steps={min(budget.steps, 10)}")
    with ready_run(plan, folder) as ready, gauge(device) as found:
        names = [structure.name for structure in plan.preparation.structures]
        record = Record(ready.run.folder, criterion=plan.task.criterion, structures=names, first=0)
        train_loop(ready.run, ready.dataset, record)
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    used = [row.get("gpu_gib") for row in rows]
    if found.gib is None:
        return [Row(verdict=judged(not any(used)), found="no GPU memory in the record of a CPU")]
    states = 4 * 4 * sum(p.numel() for p in plan.task.parameters()) / 2**30  # weights, gradients, two of AdamW's
    holds = None not in used and used == sorted(used) and states <= used[-1] <= found.gib + 1e-3
    text = f"{used[-1]} GiB in the last of {len(rows)} rows, torch says {found.gib:.3f}"
    return [Row(verdict=judged(holds), found=text, numbers={"gpu_gib": used, "torch_gib": found.gib})]
