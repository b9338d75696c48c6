"""How windows slide over a scan: the options of the predict command, checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal

from segfocal.inference.sliding.windows import Weighting
from segfocal.models.engines import ENGINES, EngineName

Precision = Literal["fp32", "bf16", "fp16"]


@dataclass(frozen=True, kw_only=True)
class SlidingOptions:
    """How windows slide over a scan, and what happens in each.

    Args:
        overlap: share of neighbouring windows, in [0,1); half, as more costs much and gains little.
        weighting: of a window's pixels where windows overlap, gaussian or constant.
        batch_size: windows at a time at most: fewer where memory runs out, and on a CPU of 2^20 pixels together.
        precision: of the network, fp32, bf16 or (on a GPU) fp16.
        accumulate: of the blended logits, fp32 or fp16.
        flips: axes (h, w, of 3-D windows d) along which the scan is mirrored too, every combination; the mean counts.
        crop: "body" leaves out slices, rows and columns of nothing but air, "none" nothing.
        compile: the network through torch.compile: a minute first, then about half the time a window.
        engine: what runs the network: torch, openvino or onnxruntime (both on a CPU only); "auto" is OpenVINO where it
            is installed and its answer to the first window is within 0.001 of torch's, else torch.

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
    engine: EngineName = "auto"

    def __post_init__(self) -> None:
        object.__setattr__(self, "flips", tuple(self.flips))
        rules = {
            "overlap in [0,1)": 0 <= self.overlap < 1,
            "weighting gaussian or constant": self.weighting in ("gaussian", "constant"),
            "batch_size ≥ 1": self.batch_size >= 1,
            "precision fp32, bf16 or fp16": self.precision in ("fp32", "bf16", "fp16"),
            "accumulate fp32 or fp16": self.accumulate in ("fp32", "fp16"),
            "flips of d, h and w": set(self.flips) <= set("dhw") and len(set(self.flips)) == len(self.flips),
            "crop none or body": self.crop in ("none", "body"),
            "compile true or false": isinstance(self.compile, bool),
            f"engine {', '.join(ENGINES[:-1])} or {ENGINES[-1]}": self.engine in ENGINES,
            "engine auto or torch for compile=true": not self.compile or self.engine not in ENGINES[2:],
            "engine auto, torch or openvino for precision=bf16": self.precision != "bf16" or self.engine != ENGINES[-1],
        }
        broken = [rule for rule, holds in rules.items() if not holds]
        if broken:
            names = [broken_rule.split()[0] for broken_rule in broken]
            found = ", ".join(f"{name}={getattr(self, name)}" for name in names)
            raise ValueError(f"expected {'; '.join(broken)}; got {found}")


SLIDING = tuple(field.name for field in fields(SlidingOptions))  # the keys of a config that are its fields
