"""Bundles made ready to segment scans: one network of several, of flips, in a precision, through sliding windows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segfocal.errors import UserError
from segfocal.inference.bundle import Bundle
from segfocal.inference.prompted.prompt_windows import OUTSIDE
from segfocal.inference.sliding.batching import Batching
from segfocal.inference.sliding.model_input import Cropped, View
from segfocal.inference.sliding.sweep import Slab, Slices, sweep
from segfocal.inference.sliding.windows import Weighting

Precision = Literal["fp32", "bf16", "fp16"]

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_AXES = {"d": -3, "h": -2, "w": -1}


@dataclass(frozen=True, kw_only=True)
class Sweeping:
    """How windows slide over a scan.

    overlap: of neighbouring windows, [0,1). weighting: of a window's pixels. batch_size: windows at a time, halved
    where memory runs out. precision: of the network (`fp16` on a GPU only). accumulate: of the blended logits, fp32 or
    fp16. flips: axes ("h", "w", of 3-D windows "d") along which the scan is mirrored too, every combination; the mean
    of the logits counts. crop: "body" leaves out what holds only air, "none" nothing. compile: the network through
    torch.compile, which takes a minute first and may then take half the time a window.

    Raises:
        ValueError: values outside these.
    """

    overlap: float = 0.5
    weighting: Weighting = "gaussian"
    batch_size: int = 8
    precision: Precision = "fp32"
    accumulate: Literal["fp32", "fp16"] = "fp32"
    flips: Sequence[Literal["d", "h", "w"]] = ()
    crop: Literal["none", "body"] = "none"
    compile: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "flips", tuple(self.flips))
        rules = {
            "overlap in [0,1)": 0 <= self.overlap < 1,
            "weighting gaussian or constant": self.weighting in ("gaussian", "constant"),
            "batch_size ≥ 1": self.batch_size >= 1,
            "precision fp32, bf16 or fp16": self.precision in _DTYPES,
            "accumulate fp32 or fp16": self.accumulate in ("fp32", "fp16"),
            "flips of d, h and w": set(self.flips) <= set(_AXES) and len(set(self.flips)) == len(self.flips),
            "crop none or body": self.crop in ("none", "body"),
            "compile true or false": isinstance(self.compile, bool),
        }
        broken = [rule for rule, holds in rules.items() if not holds]
        if broken:
            names = [broken_rule.split()[0] for broken_rule in broken]
            found = ", ".join(f"{name}={getattr(self, name)}" for name in names)
            raise ValueError(f"expected {'; '.join(broken)}; got {found}")


SETTINGS = tuple(field.name for field in fields(Sweeping))


class Predictor:
    """Bundles on a device, ready for any number of scans. Of several bundles (folds) the mean of the logits counts.

    Raises:
        UserError: bundles that see scans differently or segment different structures, fp16 without a GPU, flips along
            an axis that windows have not.
    """

    def __init__(self, bundles: Sequence[Bundle], *, settings: Sweeping, device: torch.device | str = "cpu") -> None:
        self.bundle, self.settings, self.device = bundles[0], settings, torch.device(device)
        _check_alike(bundles)
        if settings.precision == "fp16" and self.device.type == "cpu":
            raise UserError(
                expected="precision=fp32 or bf16 on a CPU", found="precision=fp16", do="change it, or use device=cuda"
            )
        if "d" in settings.flips and len(self.bundle.window) == 2:
            raise UserError(expected="flips of h and w for 2-D windows", found="d", do="leave it out")
        for bundle in bundles:
            bundle.model.to(self.device).eval()
        self.models = [_compiled(bundle.model) if settings.compile else bundle.model for bundle in bundles]
        self.batching = Batching(settings.batch_size)

    def slabs(self, view: View) -> Iterator[Slab]:
        """Yield finished logits [k,n,h,w] of a scan, asked without a prompt, in order along the slices."""
        if self.settings.crop == "none":
            yield from self._sweep(view)
            return
        box = view.body()
        inside, first, last = Cropped(view, box), box[0].start, box[0].stop
        k, (depth, height, width) = len(self.bundle.structures), view.grid.shape
        if first:
            yield Slab(0, first, torch.full((1, 1, 1, 1), OUTSIDE).expand(k, first, height, width))
        for slab in self._sweep(inside):
            yield Slab(first + slab.start, first + slab.stop, inside.restored(slab.logits, outside=OUTSIDE))
        if last < depth:
            yield Slab(last, depth, torch.full((1, 1, 1, 1), OUTSIDE).expand(k, depth - last, height, width))

    def _sweep(self, image: Slices) -> Iterator[Slab]:
        settings = self.settings
        return sweep(
            image,
            self.network,
            window=(1, *self.bundle.window)[-3:],
            overlap=settings.overlap,
            weighting=settings.weighting,
            batch_size=self.batching,
            device=self.device,
            accumulate=_DTYPES[settings.accumulate],
        )

    def network(self, batch: Tensor) -> Tensor:
        """Return the mean logits [b,k,*window] float32 of windows [b,c,*window], over all models and flips."""
        dtype, count = _DTYPES[self.settings.precision], len(batch)
        if self.settings.compile and count < self.batching.size:  # another shape would be compiled anew
            batch = F.pad(batch, [0, 0] * (batch.ndim - 1) + [0, self.batching.size - count])
        total: Tensor | None = None
        for axes in _combinations(self.settings.flips):
            seen = batch.flip(axes) if axes else batch
            for model in self.models:
                with torch.autocast(self.device.type, dtype=dtype, enabled=dtype != torch.float32):
                    logits = model(seen)
                logits = logits.float().flip(axes) if axes else logits.float()
                total = logits if total is None else total.add_(logits)
        assert total is not None
        answers = len(self.models) << len(self.settings.flips)
        return total[:count] if answers == 1 else total[:count].div_(answers)


def _compiled(model: nn.Module) -> Callable[[Tensor], Tensor]:
    """Return a model through torch.compile, or, with one warning of torch's, as it is where that fails."""
    torch._dynamo.config.suppress_errors = True
    return torch.compile(model)


def _combinations(flips: Sequence[str]) -> list[list[int]]:
    combinations: list[list[int]] = [[]]
    for name in flips:
        combinations += [[*axes, _AXES[name]] for axes in combinations]
    return combinations


def _check_alike(bundles: Sequence[Bundle]) -> None:
    """Raise UserError unless bundles see scans alike and say the same of them."""
    facts: dict[str, Callable[[Bundle], object]] = {
        "grid": lambda b: b.grid,
        "window": lambda b: b.window,
        "channels": lambda b: b.channels,
        "neighbours": lambda b: b.neighbours,
        "intensity": lambda b: b.intensity,
        "structures": lambda b: b.structures,
        "link": lambda b: b.link,
    }
    first = bundles[0]
    for number, other in enumerate(bundles[1:], start=2):
        for name, fact in facts.items():
            if fact(other) != fact(first):
                raise UserError(
                    expected=f"bundles with the same {name}: {fact(first)}",
                    found=f"{fact(other)} in bundle {number}",
                    do="put together only models of one target, trained on slices prepared alike",
                )
