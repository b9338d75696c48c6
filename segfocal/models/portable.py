"""Writes networks as portable files, which run without segfocal: ONNX in any runtime, TorchScript in torch alone."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from segfocal.errors import UserError

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
IMAGE, LOGITS = "image", "logits"
FREE = torch.export.Dim.DYNAMIC
_OTHERWISE = "export another bundle, or use this one through segfocal"
_LARGEST = 2_000_000_000  # bytes of a protobuf file; beyond it the weights lie in a second file


def check_packages(*names: str) -> None:
    """Raise UserError unless the packages that exporting needs are installed."""
    missing = [name for name in names if find_spec(name) is None]
    if missing:
        extra = "'segfocal[cpu,export]'" if "openvino" in missing else "'segfocal[export]'"
        raise UserError(
            expected=f"the package{'s' * (len(missing) > 1)} {', '.join(missing)} to export",
            found="none installed",
            do=f"run pip install {extra}",
        )


def write_network(model: nn.Module, path: Path, shape: Sequence[int]) -> None:
    """Write a network as ONNX: image [b,*shape] in [0,1], shape (c,h,w) or (c,d,h,w), → logits [b,k,…], b free."""
    example = torch.rand(2, *shape)
    write_onnx(model, (example,), path, inputs=[IMAGE], outputs=[LOGITS], free=({0: FREE},), names="b")


def write_torchscript(model: nn.Module, path: Path, window: Sequence[int]) -> None:
    """Write a network as TorchScript: image [b,1,*window] in [0,1] → logits [b,k+1,*window], channel 0 background.

    The background has the logit 0, so the label is the argmax. A trace holds for one batch size, so images go through
    one by one. All that does not depend on the image is frozen into constants, which `torch.jit.load(map_location=…)`
    moves to a device; unfrozen, a trace made on the CPU would create them there wherever it runs.

    Raises:
        UserError: a network that torch.jit cannot trace.
    """
    try:
        with quiet(), torch.no_grad():
            traced = torch.jit.trace(model.eval(), torch.rand(1, 1, *window), check_trace=False)
            program = torch.jit.script(_OneByOne(traced)).eval()
            torch.jit.freeze(program, optimize_numerics=False).save(str(path))
    except (RuntimeError, TypeError) as error:
        raise UserError(
            expected="a network that torch.jit.trace can follow", found=first_line(error), do=_OTHERWISE
        ) from error


class _OneByOne(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        logits = torch.cat([self.network(image[i : i + 1]) for i in range(image.shape[0])])
        return torch.cat([torch.zeros_like(logits[:, :1]), logits], dim=1)


def write_onnx(
    network: nn.Module,
    example: tuple[Any, ...],
    path: Path,
    *,
    inputs: list[str],
    outputs: list[str],
    free: tuple[Any, ...],
    names: str,
) -> None:
    """Write a network as ONNX by torch's own exporter.

    Args:
        network: to write; put into evaluation mode.
        example: its arguments.
        path: of the file.
        inputs: what the file calls its inputs.
        outputs: and its outputs.
        free: sizes that may differ from those of the example, by input and axis.
        names: a letter for each of these sizes.

    Raises:
        UserError: a network that it cannot follow.
    """
    weights = sum(p.numel() * p.element_size() for p in network.parameters())
    try:
        with quiet(), torch.no_grad():
            program = torch.onnx.export(
                network.eval(),
                example,
                input_names=inputs,
                output_names=outputs,
                dynamic_shapes=free,
                dynamo=True,
                verbose=False,
            )
            assert program is not None
            _rename_sizes(program.model.graph, names)
            program.save(str(path), external_data=weights > _LARGEST)
    except torch.onnx.OnnxExporterError as error:
        raise UserError(
            expected="a network that torch.onnx.export can follow",
            found=first_line(error.__cause__ or error),
            do=_OTHERWISE,
        ) from error


def _rename_sizes(graph: Any, names: str) -> None:
    """Give the free sizes of an ONNX graph's inputs and outputs the given names instead of the exporter's."""
    known: dict[str, str] = {}
    for value in (*graph.inputs, *graph.outputs):
        for axis, size in enumerate(value.shape):
            if not isinstance(size, int):
                name = known.setdefault(str(size), names[min(len(known), len(names) - 1)])
                value.shape[axis] = name


def first_line(error: BaseException) -> str:
    """Return the first line of what an exporter's error says."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the exporters' logs and warnings off the terminal."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
