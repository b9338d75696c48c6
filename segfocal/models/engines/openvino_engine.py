"""OpenVINO, the extra `cpu`: float32 is pinned, nothing is reported to its makers, threads are torch's."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from segfocal.models.engines.engine import EnginePrecision, NotConvertible, Program, Run
from segfocal.models.portable import first_line, quiet

_NETWORK, _WEIGHTS = "network.xml", "network.bin"
_PRECISIONS = {"fp32": "f32", "bf16": "bf16"}


class OpenVino:
    """OpenVINO on the CPU.

    Raises:
        ImportError: it is not installed, or cannot be loaded.
    """

    name = "openvino"

    def __init__(self) -> None:
        self.library = _imported()
        self.version = str(self.library.__version__).split("-")[0]
        self.core = self.library.Core()

    def convert(self, network: nn.Module, example: Sequence[Tensor], free: Sequence[Sequence[int]]) -> Program:
        """Return the program of a network, followed by tracing it; see `Engine.convert`.

        Traced, an instance norm stays one operation, which torch.export takes apart: two thirds of the time of a U-Net.
        """
        try:
            with quiet(), torch.no_grad(), TemporaryDirectory() as folder:
                model = self.library.convert_model(network.eval(), example_input=tuple(example))
                model.reshape(dict(enumerate(map(_shape, example, free))))
                files = {_NETWORK: Path(folder) / _NETWORK, _WEIGHTS: Path(folder) / _WEIGHTS}
                self.library.save_model(model, str(files[_NETWORK]), compress_to_fp16=False)
                return {name: path.read_bytes() for name, path in files.items()}
        except Exception as error:  # a converter fails in any way
            raise NotConvertible(first_line(error)) from error

    def load(self, program: Program, *, precision: EnginePrecision) -> Run:
        """Return a program ready to run; see `Engine.load`.

        Threads are not tied to cores: two commands at a time would be tied to the same ones.
        """
        options = {
            "INFERENCE_PRECISION_HINT": _PRECISIONS[precision],
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "PERFORMANCE_HINT": "LATENCY",
            "ENABLE_CPU_PINNING": False,
        }
        try:
            model = self.core.read_model(program[_NETWORK], program[_WEIGHTS])
            compiled = self.core.compile_model(model, "CPU", options)
        except (RuntimeError, TypeError, KeyError) as error:
            raise NotConvertible(first_line(error)) from error
        count = len(compiled.outputs)

        def run(inputs: Sequence[Tensor]) -> list[Tensor]:
            try:
                answers = compiled([tensor.detach().contiguous().numpy() for tensor in inputs])
            except RuntimeError as error:
                if "alloc" in str(error).lower():
                    raise MemoryError(first_line(error)) from error
                raise
            return [torch.from_numpy(answers[place]) for place in range(count)]

        return run


class OpenVinoNetwork(nn.Module):
    """A network in OpenVINO's two files, `network(image[b,c,*window]) -> logits[b,k,*window]`, on the CPU."""

    def __init__(self, xml: Path) -> None:
        super().__init__()
        files = {_NETWORK: xml.read_bytes(), _WEIGHTS: xml.with_suffix(".bin").read_bytes()}
        self.run = OpenVino().load(files, precision="fp32")

    def forward(self, image: Tensor) -> Tensor:
        """Return the logits of images."""
        return self.run([image])[0]


def write_openvino(network: Path) -> Path:
    """Write what OpenVINO makes of an ONNX file beside it, .xml and .bin; return the former."""
    library, xml = _imported(), network.with_suffix(".xml")
    library.save_model(library.convert_model(str(network)), str(xml), compress_to_fp16=False)
    return xml


def _shape(tensor: Tensor, free: Sequence[int]) -> list[int]:
    """Return the sizes of an input, -1 where they are free."""
    return [-1 if axis in free else size for axis, size in enumerate(tensor.shape)]


def _imported() -> Any:
    """Return the module openvino, imported without the package that reports its use to a server when it is imported."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # as if it were not installed
    import openvino  # type: ignore[import-not-found, unused-ignore]  # the extra `cpu`

    return openvino
