"""onnxruntime, the extra `export`: runs what torch's own exporter writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from segfocal.errors import UserError
from segfocal.models.engines.engine import EnginePrecision, NotConvertible, Program, Run
from segfocal.models.portable import first_line, write_onnx

_NETWORK = "network.onnx"
_FREE = torch.export.Dim.DYNAMIC


class OnnxRuntime:
    """onnxruntime on the CPU, in float32.

    Raises:
        ImportError: it is not installed, or cannot be loaded.
    """

    name = "onnxruntime"

    def __init__(self) -> None:
        self.library = _imported()
        self.version = str(self.library.__version__)

    def convert(self, network: nn.Module, example: Sequence[Tensor], free: Sequence[Sequence[int]]) -> Program:
        """Return the program of a network; see `Engine.convert`."""
        axes = tuple({axis: _FREE for axis in own} for own in free)
        names = [f"input_{place}" for place in range(len(example))]
        with torch.no_grad():
            outputs = [f"output_{place}" for place in range(len(network(*example)))]
        with TemporaryDirectory() as folder:
            path = Path(folder) / _NETWORK
            try:
                write_onnx(network, tuple(example), path, inputs=names, outputs=outputs, free=(axes,), names="nt")
            except UserError as error:
                raise NotConvertible(error.found) from error
            if path.with_name(f"{_NETWORK}.data").is_file():
                raise NotConvertible("more than 2 GB of weights")
            return {_NETWORK: path.read_bytes()}

    def load(self, program: Program, *, precision: EnginePrecision) -> Run:
        """Return a program ready to run; see `Engine.load`."""
        options = self.library.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        try:
            session = self.library.InferenceSession(program[_NETWORK], options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own kinds
            raise NotConvertible(first_line(error)) from error
        names = [entry.name for entry in session.get_inputs()]

        def run(inputs: Sequence[Tensor]) -> list[Tensor]:
            arrays = [tensor.detach().contiguous().numpy() for tensor in inputs]
            return [torch.from_numpy(answer) for answer in session.run(None, dict(zip(names, arrays, strict=True)))]

        return run


def _imported() -> Any:
    import onnxruntime  # type: ignore[import-untyped, unused-ignore]  # the extra `export`

    return onnxruntime
