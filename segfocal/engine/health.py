"""Looks at a run while it trains and says, once each, what its owner would want to know before the end."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from statistics import fmean
from typing import TypeVar

import torch

from segfocal.engine.validate import Score

Item = TypeVar("Item")

_FIRST = 20  # steps that say nothing yet: caches fill, the learning rate climbs
_WAITING = 0.2  # share of time above which data are too slow
_GROWTH = 2.0  # of the smoothed loss over its smallest, above which it diverges


class Health:
    """Collects what steps and validations show, and calls `say` with each warning.

    Args:
        say: prints a line that stays.
        device: of the training; on a GPU its memory is measured too.
        steady: whether losses of different steps can be compared: not if the loss itself follows training.
    """

    def __init__(self, say: Callable[[str], None], *, device: torch.device, steady: bool = True) -> None:
        self.say, self.device, self.steady = say, device, steady
        self.steps, self.waited, self.started = 0, 0.0, time.monotonic()
        self.losses: deque[float] = deque(maxlen=_FIRST)
        self.smallest = math.inf
        self.said: set[str] = set()
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)  # of an earlier run in this process

    def waiting_for(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yield from `items`, noting how long each was waited for."""
        iterator = iter(items)
        while True:
            before = time.monotonic()
            try:
                item = next(iterator)
            except StopIteration:
                return
            if self.steps >= _FIRST:
                self.waited += time.monotonic() - before
            yield item

    def step(self, loss: float, *, samples: int) -> dict[str, float]:
        """Note a step; return its throughput and, on a GPU, the most memory used so far, for the record."""
        self.steps += 1
        if self.steps == _FIRST:
            self.started = time.monotonic()
        self.losses.append(loss)
        self._look_at_loss()
        self._look_at_waiting()
        measured: dict[str, float] = {}
        if self.steps > _FIRST:
            seconds = time.monotonic() - self.started
            measured["samples_per_second"] = round((self.steps - _FIRST) * samples / seconds, 2)
            measured["waiting_share"] = round(self.waited / seconds, 4)
        if self.device.type == "cuda":
            measured["gpu_gib"] = round(torch.cuda.max_memory_allocated(self.device) / 2**30, 3)
        return measured

    def validated(self, scores: Iterable[Score]) -> None:
        """Note the scores of a validation."""
        if all(score.counts.tp + score.counts.fp == 0 for score in scores):
            self._say_once(
                "background",
                "the model predicts background everywhere: if that stays so, try loss=focal+dice, model.prior=auto, a "
                "larger data.foreground or a larger alpha",
            )

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave what happens in the block, a validation or a checkpoint, out of the time of training."""
        before = time.monotonic()
        yield
        self.started += time.monotonic() - before

    def _look_at_loss(self) -> None:
        if not self.steady or len(self.losses) < _FIRST:
            return
        smoothed = fmean(self.losses)
        if self.smallest > 0 and smoothed > _GROWTH * self.smallest:
            self._say_once(
                "diverging",
                f"the loss has grown from {self.smallest:.3g} to {smoothed:.3g} (means over {_FIRST} steps): if that "
                "goes on, lower train.lr or set train.clip_norm",
            )
        self.smallest = min(self.smallest, smoothed)

    def _look_at_waiting(self) -> None:
        if self.steps < 3 * _FIRST:
            return
        share = self.waited / (time.monotonic() - self.started)
        if share > _WAITING:
            self._say_once("waiting", f"{share:.0%} of the time goes into waiting for data: raise train.workers")

    def _say_once(self, topic: str, text: str) -> None:
        if topic not in self.said:
            self.said.add(topic)
            self.say(f"warning: {text}")
