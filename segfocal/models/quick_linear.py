"""Linear layers whose answers come through oneDNN where torch's own way is slower: MKL on AMD processors with AVX-512.

MKL takes its kernels for AVX2 there: 110 GFLOP/s of one core where oneDNN reaches 254, at [2048,192]·[192,768] (AMD
EPYC, torch 2.13). Gradients, half precision, GPUs, compiled and traced networks go torch's way.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.jit import is_tracing  # type: ignore[attr-defined]


class QuickLinear(nn.Linear):
    """A linear layer; parameters, their names and, to rounding, its answers are those of torch's."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the products [*,out] of numbers [*,in]."""
        if not torch.compiler.is_compiling() and mkl_is_slow() and _by_onednn(self, input):
            return torch.ops.mkldnn._linear_pointwise(input, self.weight, self.bias, "none", [], "")
        return super().forward(input)


def quicken(network: nn.Module) -> None:
    """Make quick layers of torch's linear ones, in place."""
    for layer in network.modules():
        if type(layer) is nn.Linear:
            layer.__class__ = QuickLinear


@cache
def mkl_is_slow() -> bool:
    """Return whether torch multiplies by MKL on a processor for which that has no kernels of full width."""
    mine = torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()
    wide = torch.backends.cpu.get_cpu_capability() == "AVX512"
    return mine and wide and hasattr(torch.ops.mkldnn, "_linear_pointwise") and "AuthenticAMD" in _processor()


def _by_onednn(layer: nn.Linear, input: Tensor) -> bool:
    if is_tracing() or torch.is_grad_enabled() or torch.is_autocast_enabled("cpu"):
        return False
    return input.dtype == layer.weight.dtype == torch.float32 and input.device.type == "cpu" and input.numel() > 0


def _processor() -> str:
    """Return the first lines of what Linux says of the processor; nothing elsewhere."""
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as file:
            return file.read(4096)
    except OSError:
        return ""
