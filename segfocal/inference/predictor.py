"""Bundles made ready to segment scans: one network of several, of flips, in a precision, through sliding windows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segfocal.errors import UserError
from segfocal.inference.bundle import Bundle
from segfocal.inference.prompted.prompt_windows import OUTSIDE
from segfocal.inference.sliding.batching import Batching
from segfocal.inference.sliding.model_input import Cropped, ModelInput
from segfocal.inference.sliding.sliding_options import SlidingOptions
from segfocal.inference.sliding.sweep import Slab, Slices, sweep
from segfocal.inference.sliding.windows import WindowOverlap
from segfocal.models.engines import EngineChoice, EngineName, EnginePrecision, engines_of, run_by_engine

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_AXES = {"d": -3, "h": -2, "w": -1}
_CPU_VOXELS = 1 << 20  # of a batch: a CPU is no faster with more of them, and holds all their activations


class Predictor:
    """Bundles on a device, ready for any number of scans. Of several bundles (folds) the mean of the logits counts.

    Args:
        bundles: of one target, which see scans alike.
        sliding: how windows slide.
        device: where the networks run.

    Raises:
        UserError: bundles that see scans differently or segment different structures, fp16 without a GPU, flips along
            an axis that windows have not, an engine that is not there or cannot take a network.
    """

    def __init__(
        self, bundles: Sequence[Bundle], *, sliding: SlidingOptions, device: torch.device | str = "cpu"
    ) -> None:
        self.bundle, self.sliding, self.device = bundles[0], sliding, torch.device(device)
        check_alike(bundles)
        if sliding.precision == "fp16" and self.device.type == "cpu":
            raise UserError(
                expected="precision=fp32 or bf16 on a CPU", found="precision=fp16", do="change it, or use device=cuda"
            )
        if "d" in sliding.flips and len(self.bundle.window) == 2:
            raise UserError(expected="flips of h and w for 2-D windows", found="d", do="leave it out")
        for bundle in bundles:
            bundle.model.to(self.device).eval()
        self.models = [_ready(bundle, sliding, self.device) for bundle in bundles]
        self.batching = Batching(_at_a_time(sliding.batch_size, self.bundle.window, self.device))

    @property
    def engines(self) -> list[str]:
        """What runs the networks, by name and version."""
        return sorted({engine for model in self.models for engine in engines_of(model)})

    def slabs(self, image: ModelInput) -> Iterator[Slab]:
        """Yield finished logits [k,n,h,w] of a scan, without a prompt, in order along the slices."""
        if self.sliding.crop == "none":
            yield from self._sweep(image)
            return
        box = image.body()
        inside, first, last = Cropped(image, box), box[0].start, box[0].stop
        k, (depth, height, width) = len(self.bundle.structures), image.grid.shape
        if first:
            yield Slab(0, first, torch.full((1, 1, 1, 1), OUTSIDE).expand(k, first, height, width))
        for slab in self._sweep(inside):
            yield Slab(first + slab.start, first + slab.stop, inside.restored(slab.logits, outside=OUTSIDE))
        if last < depth:
            yield Slab(last, depth, torch.full((1, 1, 1, 1), OUTSIDE).expand(k, depth - last, height, width))

    def _sweep(self, image: Slices) -> Iterator[Slab]:
        return sweep(
            image,
            self.network,
            window=(1, *self.bundle.window)[-3:],
            overlap=WindowOverlap(share=self.sliding.overlap, weighting=self.sliding.weighting),
            batch_size=self.batching,
            device=self.device,
            accumulate=_DTYPES[self.sliding.accumulate],
        )

    def network(self, batch: Tensor) -> Tensor:
        """Return the mean logits [b,k,*window] float32 of windows [b,c,*window], over all models and flips."""
        dtype, count = _DTYPES[self.sliding.precision], len(batch)
        if self.sliding.compile and count < self.batching.size:  # another shape would be compiled anew
            batch = F.pad(batch, [0, 0] * (batch.ndim - 1) + [0, self.batching.size - count])
        total: Tensor | None = None
        for axes in _combinations(self.sliding.flips):
            seen = batch.flip(axes) if axes else batch
            for model in self.models:
                with torch.autocast(self.device.type, dtype=dtype, enabled=dtype != torch.float32):
                    logits = model(seen)
                logits = logits.float().flip(axes) if axes else logits.float()
                total = logits if total is None else total.add_(logits)
        assert total is not None
        answers = len(self.models) << len(self.sliding.flips)
        return total[:count] if answers == 1 else total[:count].div_(answers)


def _at_a_time(most: int, window: Sequence[int], device: torch.device) -> int:
    """Return how many windows go through the network at a time."""
    return most if device.type != "cpu" else min(most, max(1, _CPU_VOXELS // math.prod(window)))


def _ready(bundle: Bundle, sliding: SlidingOptions, device: torch.device) -> nn.Module:
    """Return the model of a bundle, on its engine, or through torch.compile."""
    if sliding.compile:
        torch._dynamo.config.suppress_errors = True  # with one warning of torch's the model is used as it is
        return torch.compile(bundle.model)  # type: ignore[return-value]
    precision: EnginePrecision = "bf16" if sliding.precision == "bf16" else "fp32"  # fp16: a GPU's, so torch's
    return on_engine(bundle, sliding.engine, precision=precision, device=device)


def on_engine(
    bundle: Bundle, engine: EngineName, *, device: torch.device, precision: EnginePrecision = "fp32"
) -> nn.Module:
    """Return the model of a bundle as an engine runs it.

    Args:
        bundle: on the device.
        engine: auto, torch, openvino or onnxruntime.
        device: on which the model is.
        precision: of the engine's products.

    Raises:
        UserError: an engine that is not there, cannot take the network, or is not for that device.
    """
    choice = EngineChoice(name=engine, precision=precision, folder=bundle.folder, device=device)
    shape = (bundle.inputs, *bundle.window)
    return run_by_engine(bundle.model, choice, shape=shape, facts={"model": bundle.model_config})


def _combinations(flips: Sequence[str]) -> list[list[int]]:
    combinations: list[list[int]] = [[]]
    for name in flips:
        combinations += [[*axes, _AXES[name]] for axes in combinations]
    return combinations


def check_alike(bundles: Sequence[Bundle]) -> None:
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
