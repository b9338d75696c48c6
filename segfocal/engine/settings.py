"""The numbers of a training run, checked before anything is read or built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal

_TRACKERS = ("none", "tensorboard", "mlflow", "wandb")
_SCHEDULES = ("cosine", "poly", "plateau", "constant")
Precision = Literal["fp32", "bf16", "fp16"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How long and how to train.

    steps: optimiser steps. batch_size: samples a step, over all processes, accumulated over `accumulate` forward
    passes. lr_scales: factors on the learning rate of parameters whose name matches a pattern, 0 to freeze them; the
    last that matches counts. plateau: validations without a better Dice after which that schedule halves the rate.
    warmup: share of the steps over which the learning rate climbs. clip_norm: largest gradient norm, None for no limit.
    ema: decay of the averaged weights, 0 for none. validate_every: steps between
    validations on whole volumes, 0 for only the last. save_minutes: between checkpoints apart from those at every
    validation, None for no others. keep_checkpoints: how many of the last to keep. patience: validations without a
    better Dice before stopping, None for never. keep: whether the bundle holds the last weights or those that validated
    best. postprocess: "auto" puts into the bundle what raised Dice on the validation scans. workers: loading processes;
    worker_timeout: seconds without a batch after which they count as hung, None for never.
    tf32, channels_last, compile (the network through torch.compile): for speed on a GPU. deterministic: refuse GPU
    operations that are not repeatable. overfit: train on the first so many batches over and over, None for all.
    dry_run: two steps and a validation, then an estimate of time and memory. profile: keep a trace of some steps.
    tracker: what besides the run directory gets the record.
    """

    steps: int = 300
    batch_size: int = 8
    accumulate: int = 1
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    lr: float = 1e-3
    weight_decay: float = 0.05
    lr_scales: Mapping[str, float] | None = None
    schedule: Literal["cosine", "poly", "plateau", "constant"] = "cosine"
    plateau: int = 2
    warmup: float = 0.1
    clip_norm: float | None = 1.0
    ema: float = 0.98
    validate_every: int = 100
    save_minutes: float | None = 10.0
    keep_checkpoints: int = 2
    patience: int | None = None
    keep: Literal["last", "best"] = "last"
    postprocess: Literal["none", "auto"] = "none"
    workers: int = 0
    worker_timeout: float | None = 600.0
    precision: Precision = "fp32"
    tf32: bool = True
    channels_last: bool = False
    compile: bool = False
    deterministic: bool = False
    device: str = "auto"
    overfit: int | None = None
    dry_run: bool = False
    profile: bool = False
    tracker: Literal["none", "tensorboard", "mlflow", "wandb"] = "none"

    def __post_init__(self) -> None:
        for entry in fields(self):
            _check_type(f"train.{entry.name}", getattr(self, entry.name), str(entry.type))
        rules = {
            "train.steps ≥ 1": self.steps >= 1,
            "train.batch_size ≥ 1": self.batch_size >= 1,
            "train.accumulate a divisor of train.batch_size": self.accumulate >= 1
            and self.batch_size % self.accumulate == 0,
            "train.optimizer adamw, adam or sgd": self.optimizer in ("adamw", "adam", "sgd"),
            "train.lr > 0": self.lr > 0,
            "train.weight_decay ≥ 0": self.weight_decay >= 0,
            "train.lr_scales ≥ 0 by name pattern": all(scale >= 0 for scale in (self.lr_scales or {}).values()),
            "train.schedule cosine, poly, plateau or constant": self.schedule in _SCHEDULES,
            "train.plateau ≥ 1": self.plateau >= 1,
            "train.warmup in [0,1)": 0 <= self.warmup < 1,
            "train.clip_norm > 0 or null": self.clip_norm is None or self.clip_norm > 0,
            "train.ema in [0,1)": 0 <= self.ema < 1,
            "train.validate_every ≥ 0": self.validate_every >= 0,
            "train.save_minutes > 0 or null": self.save_minutes is None or self.save_minutes > 0,
            "train.keep_checkpoints ≥ 1": self.keep_checkpoints >= 1,
            "train.patience ≥ 1 or null": self.patience is None or self.patience >= 1,
            "train.keep last or best": self.keep in ("last", "best"),
            "train.postprocess none or auto": self.postprocess in ("none", "auto"),
            "train.workers ≥ 0": self.workers >= 0,
            "train.worker_timeout > 0 or null": self.worker_timeout is None or self.worker_timeout > 0,
            "train.overfit ≥ 1 or null": self.overfit is None or self.overfit >= 1,
            "train.device auto or cpu": self.device in ("auto", "cpu"),
            "train.tracker none, tensorboard, mlflow or wandb": self.tracker
            in ("none", "tensorboard", "mlflow", "wandb"),
            "train.precision fp32, bf16 or fp16": self.precision in ("fp32", "bf16", "fp16"),
        }
        broken = [rule for rule, holds in rules.items() if not holds]
        if broken:
            raise ValueError(f"expected {'; '.join(broken)}; got {self}")


def _check_type(name: str, value: object, annotation: str) -> None:
    """Raise ValueError unless `value` is the number or word that the field's annotation asks for."""
    if value is None and "None" in annotation:
        return
    wanted: tuple[type, ...] = (str,)
    if annotation.startswith("Mapping"):
        wanted = (Mapping,)
    elif annotation == "bool":
        wanted = (bool,)
    elif annotation.startswith("int"):
        wanted = (int,)
    elif annotation.startswith("float"):
        wanted = (int, float)
    if not isinstance(value, wanted) or (isinstance(value, bool) and wanted != (bool,)):
        raise ValueError(f"expected {name} to be of type {annotation}; got {value!r}")
