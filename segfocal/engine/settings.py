"""The numbers of a training run, checked before anything is read or built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from segfocal.option_kinds import converted, kinds_of
from segfocal.parallel import most_workers

_MOST_STEPS = 10**9


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """How long and how to train: the group `train` of a config.

    Args:
        steps: optimiser steps, 1 to a billion; 600 learn the demo scans in a few minutes on a CPU.
        minutes: of training by the clock, > 0, in place of `steps`; schedules follow their used share. None: `steps`
            count, which give the same numbers again.
        batch_size: samples an optimiser step, over all processes and all its forward passes, ≥ 1.
        accumulate: forward passes an optimiser step, a divisor of `batch_size`; 1, as more only save memory.
        optimizer: "adamw", "adam" or "sgd" (Nesterov momentum 0.99, as nnU-Net's).
        lr: learning rate after the warm-up, > 0, or "auto": the model's own where it begins with random weights, 0.001
            where it goes on from given ones. Of "sgd" 0.01, as nnU-Net's.
        weight_decay: ≥ 0, of weights only: biases and norms are not decayed.
        lr_scales: factors ≥ 0 on `lr` by parameter name pattern, 0 freezes; the last that matches counts. None: all 1.
        schedule: of the learning rate after the warm-up: "cosine", "poly", "plateau" or "constant".
        plateau: validations without a better Dice, ≥ 1, after which schedule "plateau" halves the rate.
        warmup: share of the steps in [0,1) over which the learning rate climbs.
        clip_norm: largest norm of the gradient, > 0; None for no limit. 1.0 makes steps independent of the loss's size.
        ema: decay of the averaged weights in [0,1), 0 for none; 0.98 averages the last 50 steps or so.
        validate_every: steps between validations on whole volumes, ≥ 0; 0 for only the last, as they take long.
        save_minutes: minutes between checkpoints besides those at validations, > 0; None for no others.
        keep_checkpoints: how many of the last to keep, ≥ 1; 2, so that a damaged one has one before it.
        patience: validations without a better Dice before stopping, ≥ 1; None for never.
        keep: weights in the bundle: "last", or "best" on the validation scans, whose Dice then flatters.
        postprocess: of masks, rules in the bundle: "labels", of organs that are one piece in every training label far
            smaller pieces are left out; "auto", those that raised Dice on the validation scans; "none".
        workers: loading processes, ≥ 0 and at most `most_workers`; 0 loads in the main one, which any machine can.
        worker_timeout: seconds without a batch after which loading processes count as hung, > 0; None for never.
        process_timeout: seconds that processes which train together wait for each other, > 0: the others wait while the
            main one prepares and validates; half a day, which no validation takes.
        precision: of the network: "fp32", "bf16", "fp16" (GPU only), or "auto": bf16 where the device multiplies it in
            hardware, else fp32, as for 3-D patches on a CPU; losses stay in float32.
        tf32: on GPUs that have it, products to 10 bits: faster.
        channels_last: memory order of images and weights: true, false, or "auto": on a CPU, for models that train
            faster so (sam_tiny). It changes the rounding of results, no more.
        compile: the network through torch.compile; takes a minute first, so off.
        deterministic: refuse GPU operations that are not repeatable; off, as some models need them.
        device: "auto" takes a GPU where there is one, or "cpu".
        overfit: train on the first so many batches over and over, ≥ 1, as a check; None for all.
        dry_run: two steps and a validation, then an estimate of time and memory.
        profile: keep a trace of steps 8 to 12.
        tracker: what besides the run directory gets the record: "none", "tensorboard", "mlflow" or "wandb".
    """

    steps: int = 600
    minutes: float | None = None
    batch_size: int = 8
    accumulate: int = 1
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    lr: Literal["auto"] | float = "auto"
    weight_decay: float = 0.05
    lr_scales: Mapping[str, float] | None = None
    schedule: Literal["cosine", "poly", "plateau", "constant"] = "cosine"
    plateau: int = 2
    warmup: float = 0.1
    clip_norm: float | None = 1.0
    ema: float = 0.98
    validate_every: int = 200
    save_minutes: float | None = 10.0
    keep_checkpoints: int = 2
    patience: int | None = None
    keep: Literal["last", "best"] = "last"
    postprocess: Literal["labels", "auto", "none"] = "labels"
    workers: int = 0
    worker_timeout: float | None = 600.0
    process_timeout: float = 43200.0
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    tf32: bool = True
    channels_last: Literal["auto"] | bool = "auto"
    compile: bool = False
    deterministic: bool = False
    device: Literal["auto", "cpu"] = "auto"
    overfit: int | None = None
    dry_run: bool = False
    profile: bool = False
    tracker: Literal["none", "tensorboard", "mlflow", "wandb"] = "none"

    def __post_init__(self) -> None:
        for name, kind in kinds_of(type(self)).items():
            object.__setattr__(self, name, converted(getattr(self, name), kind, f"train.{name}"))
        broken = {name: rule for name, (rule, holds) in self._rules().items() if not holds}
        if broken:
            wanted = "; ".join(f"train.{name} {rule}" for name, rule in broken.items())
            found = ", ".join(f"train.{name}={getattr(self, name)}" for name in broken)
            raise ValueError(f"expected {wanted}; got {found}")

    def _rules(self) -> dict[str, tuple[str, bool]]:
        """Return by field what it has to be, in words, and whether it is."""
        divides = self.accumulate >= 1 and self.batch_size % self.accumulate == 0
        return {
            "steps": (f"≥ 1, at most {_MOST_STEPS}", 1 <= self.steps <= _MOST_STEPS),
            "minutes": _positive_or_null(self.minutes),
            "batch_size": ("≥ 1", self.batch_size >= 1),
            "accumulate": (f"a divisor of train.batch_size={self.batch_size}", divides),
            "lr": ("> 0, or auto", self.lr == "auto" or self.lr > 0),
            "weight_decay": ("≥ 0", self.weight_decay >= 0),
            "lr_scales": ("≥ 0 by name pattern", all(scale >= 0 for scale in (self.lr_scales or {}).values())),
            "plateau": ("≥ 1", self.plateau >= 1),
            "warmup": ("in [0,1)", 0 <= self.warmup < 1),
            "clip_norm": _positive_or_null(self.clip_norm),
            "ema": ("in [0,1)", 0 <= self.ema < 1),
            "validate_every": ("≥ 0", self.validate_every >= 0),
            "save_minutes": _positive_or_null(self.save_minutes),
            "keep_checkpoints": ("≥ 1", self.keep_checkpoints >= 1),
            "patience": _counted_or_null(self.patience),
            "workers": (f"≥ 0, at most {most_workers()} on this machine", 0 <= self.workers <= most_workers()),
            "worker_timeout": _positive_or_null(self.worker_timeout),
            "process_timeout": ("> 0, at most 10000000", 0 < self.process_timeout <= 1e7),
            "overfit": _counted_or_null(self.overfit),
        }


def _positive_or_null(value: float | None) -> tuple[str, bool]:
    return "> 0 or null", value is None or value > 0


def _counted_or_null(value: int | None) -> tuple[str, bool]:
    return "≥ 1 or null", value is None or value >= 1
