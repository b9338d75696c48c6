"""What an engine is: it converts a network once, into a program of bytes, and runs such programs on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, Protocol, get_args

from torch import Tensor, nn

EngineName = Literal["auto", "torch", "openvino", "onnxruntime"]
EnginePrecision = Literal["fp32", "bf16"]
ENGINES: tuple[str, ...] = get_args(EngineName)

Program = Mapping[str, bytes]  # the files of a converted network, by name
Run = Callable[[Sequence[Tensor]], list[Tensor]]


class NotConvertible(Exception):
    """A network that an engine cannot take, or takes for another one; the text says why, in a line."""


class Engine(Protocol):
    """A program that runs networks: openvino_engine.py, onnxruntime_engine.py."""

    name: str
    version: str

    def convert(self, network: nn.Module, example: Sequence[Tensor], free: Sequence[Sequence[int]]) -> Program:
        """Return the program of a network that takes tensors and returns a tuple of tensors.

        free: of each input, the axes whose size may differ from the example's.

        Raises:
            NotConvertible: a network that it cannot follow.
        """
        ...

    def load(self, program: Program, *, precision: EnginePrecision) -> Run:
        """Return a program ready to run on as many threads as torch has now; float32 in and out.

        Raises:
            NotConvertible: a program that it does not take.
        """
        ...
