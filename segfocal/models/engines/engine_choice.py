"""Which engine runs a model, and the model with its parts on that engine."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

import segfocal
from segfocal.errors import UserError, note
from segfocal.models.engines.engine import Engine, EngineName, EnginePrecision, NotConvertible, Program, Run
from segfocal.models.engines.engine_part import (
    EngineDecoder,
    EngineEncoder,
    EngineNetwork,
    EnginePart,
    EngineRules,
    EngineUNet,
    answer_of_torch,
    distance,
)
from segfocal.models.engines.kept_programs import KeptProgram
from segfocal.models.engines.merged_upsampling import merged
from segfocal.models.engines.onnxruntime_engine import OnnxRuntime
from segfocal.models.engines.openvino_engine import OpenVino
from segfocal.models.engines.steady_norms import steadier
from segfocal.models.engines.tensor_parts import TensorPart, decoder_part, encoder_part, network_part, unet_part
from segfocal.models.prompt_unet import PromptUNet
from segfocal.models.sam.promptable_model import PromptableModel
from segfocal.models.sam.sam_model import SamModel
from segfocal.models.weights.published import digest_of

_MADE: dict[str, Callable[[], Engine]] = {"openvino": OpenVino, "onnxruntime": OnnxRuntime}
_EXTRA = {"openvino": "cpu", "onnxruntime": "export"}
_NEAR, _FAR = 0.5, 10.0  # of what is allowed of a scan's windows: a phantom is unlike them, a wrong program is far off
_FASTER, _TORCH = "faster", b"torch"  # a file kept with a program says what is faster, once "auto" has measured it
_TIMES = 1.1  # as fast torch must be
_PIXELS, _MOST = 1 << 20, 8  # of a batch of windows, as many of them at most
_RUNS = 4  # of each: the least time counts
_BATCHES = (1, 3)  # sizes for which a new program is compared with torch; neither is that of the example


@dataclass(frozen=True, kw_only=True)
class EngineChoice:
    """What is asked for.

    Args:
        name: auto, torch, openvino or onnxruntime. "auto" is OpenVINO where it is installed, agrees with torch and is
            not slower, for each part of a model by itself.
        precision: of the engine's products.
        folder: of the bundle, where programs are kept; None keeps none, and "auto" is torch, as converting a network
            costs more than using it once gains.
        device: of the model; engines run on a CPU, and a GPU is torch's.

    Raises:
        UserError: an engine asked for by name on a GPU.
    """

    name: EngineName = "auto"
    precision: EnginePrecision = "fp32"
    folder: Path | None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def __post_init__(self) -> None:
        if self.device.type != "cpu" and self.name not in ("auto", "torch"):
            raise UserError(
                expected=f"device=cpu for engine={self.name}",
                found=f"device={self.device.type}",
                do="set device=cpu, or engine=torch",
            )

    @property
    def is_torch(self) -> bool:
        """Whether it is torch whatever is installed."""
        unasked = self.name == "auto" and (self.folder is None or self.device.type != "cpu")
        return self.name == "torch" or unasked

    @property
    def required(self) -> bool:
        """Whether anything but the engine asked for is an error."""
        return self.name != "auto"


def run_by_engine(
    model: nn.Module, choice: EngineChoice, *, shape: Sequence[int], facts: Mapping[str, Any]
) -> nn.Module:
    """Return a model that runs on the engine of a choice, the model itself where that is torch.

    Args:
        model: in evaluation mode, on the CPU.
        choice: what is asked for.
        shape: of its images, (c, *window).
        facts: what the model was built of besides its weights, as JSON values.

    Raises:
        UserError: an engine asked for by name that is not installed or cannot take the model.
    """
    engine = None if choice.is_torch else _engine(choice)
    if engine is None:
        return model
    facts = {
        **facts,
        "shape": list(shape),
        "precision": choice.precision,
        "weights": digest_of(model.state_dict()),
        "versions": {"segfocal": segfocal.__version__, "torch": torch.__version__, engine.name: engine.version},
    }
    placed = _Placing(engine, choice, facts)
    try:
        return placed.model(model, shape)
    except NotConvertible as error:
        if choice.required:
            raise UserError(
                expected=f"a network that {engine.name} can run", found=str(error), do="set engine=torch"
            ) from error
        note(f"torch runs the network: {engine.name} cannot ({error})")
        return model


def engines_of(model: nn.Module) -> list[str]:
    """Return the engines that run a model now, by name and version, "torch" among them where torch runs a part."""
    parts: list[nn.Module | None] = [part for part in model.modules() if isinstance(part, EnginePart)]
    if isinstance(model, SamModel):
        parts = [model.image_encoder, model.mask_decoder, model.correction_decoder]
    engines = {_engine_of(part) for part in parts if part is not None}
    return sorted(engines) or ["torch"]


def _engine_of(part: nn.Module) -> str:
    if isinstance(part, EnginePart) and part.run is not None:
        return part.rules.engine
    return "torch"


def _engine(choice: EngineChoice) -> Engine | None:
    """Return the engine of a choice, None where "auto" has none."""
    name = "openvino" if choice.name == "auto" else choice.name
    if find_spec(name) is None:
        if choice.required:
            raise UserError(
                expected=f"the package {name} for engine={name}",
                found="none installed",
                do=f"run pip install 'segfocal[{_EXTRA[name]}]', or set engine=torch",
            )
        return None
    try:
        return _MADE[name]()
    except (ImportError, OSError, RuntimeError) as error:
        told = str(error).splitlines()[0] if str(error) else type(error).__name__
        if choice.required:
            raise UserError(
                expected=f"a package {name} that can be loaded", found=told, do=f"install {name} again"
            ) from error
        note(f"torch runs the network: {name} cannot be loaded ({told})")
        return None


class _Placing:
    """Puts the parts of a model on an engine: from a kept program, or from a new one."""

    def __init__(self, engine: Engine, choice: EngineChoice, facts: Mapping[str, Any]) -> None:
        self.engine, self.choice, self.facts = engine, choice, facts
        named = f"{engine.name} {engine.version}"
        self.rules = EngineRules(engine=named, precision=choice.precision, required=choice.required)

    def model(self, model: nn.Module, shape: Sequence[int]) -> nn.Module:
        if isinstance(model, PromptUNet):
            return self.prompt_unet(model, shape[0])
        if isinstance(model, SamModel):
            return self.sam(model, shape[0])
        if isinstance(model, PromptableModel):
            raise NotConvertible(f"{type(model).__name__} is a promptable model of a kind of its own")
        return self.network(model, shape)

    def network(self, model: nn.Module, shape: Sequence[int]) -> nn.Module:
        part = network_part(model, shape)
        run = self._run(part, "network")
        return model if run is None else EngineNetwork(part, run, self.rules, title="network").eval()

    def prompt_unet(self, model: PromptUNet, channels: int) -> nn.Module:
        """Return a copy of a model, of which all but the U-Net is the copy's own."""
        part = unet_part(model, channels)
        run = self._run(part, "unet")
        if run is None:
            return model
        return deepcopy(model, {id(model.unet): EngineUNet(part, run, self.rules, title="U-Net")}).eval()

    def sam(self, model: SamModel, channels: int) -> nn.Module:
        """Return a copy of a model, of which all but encoder and decoders is the copy's own."""
        part, placed = encoder_part(model, channels), dict[int, nn.Module]()
        if (run := self._run(part, "encoder")) is not None:
            placed[id(model.image_encoder)] = EngineEncoder(part, run, self.rules, title="image encoder")
        with torch.no_grad():
            embedding = part.network(*part.example)
        for title, decoder in (("mask decoder", model.mask_decoder), ("correction decoder", model.correction_decoder)):
            if decoder is not None:
                part = decoder_part(model, decoder, embedding)
                run = self._run(part, title.removeprefix("mask ").replace(" ", "_"))
                if run is not None:
                    placed[id(decoder)] = EngineDecoder(part, run, self.rules, title=title)
        return deepcopy(model, placed).eval() if placed else model

    def _deviation(self, part: TensorPart, run: Run) -> float:
        """Return how far a new program is from torch on the example, in shares of what is allowed.

        It is inf for one that holds for the example's batch size alone.
        """
        worst = 0.0
        for count in _BATCHES:
            inputs = part.rows(count)
            exact, allowed = answer_of_torch(part, inputs, self.choice.precision)
            try:
                worst = max(worst, distance(part, run(inputs), exact) / allowed)
            except RuntimeError:  # shapes that do not fit
                return float("inf")
        return worst

    def _converted(self, part: TensorPart) -> tuple[Program, Run]:
        """Return a new program of a part, the first of its forms that is near enough to torch."""
        tried: list[tuple[float, Program, Run]] = []
        for network in steadier(merged(part.network), part.air):
            program = self.engine.convert(network, part.example, part.free)
            run = self.engine.load(program, precision=self.choice.precision)
            tried.append((self._deviation(part, run), program, run))
            if tried[-1][0] < _NEAR:
                break
        deviation, program, run = min(tried, key=lambda one: one[0])
        if not deviation <= _FAR:
            raise NotConvertible("its answer to a phantom, or to another batch, is not torch's")
        return program, run

    def _run(self, part: TensorPart, name: str) -> Run | None:
        """Return a part on the engine; None where torch is faster and the engine was not asked for by name."""
        kept, run = None, None
        if self.choice.folder is not None:
            kept = KeptProgram(
                bundle=self.choice.folder, title=f"{self.engine.name}_{name}", facts={**self.facts, "part": name}
            )
        program = None if kept is None else kept.read()
        if program is not None:
            if not self.choice.required and program.get(_FASTER) == _TORCH:
                return None
            with suppress(NotConvertible):  # it is converted again
                run = self.engine.load(program, precision=self.choice.precision)
        if program is None or run is None:
            program, run, new = *self._converted(part), True
        else:
            new = False
        if not self.choice.required and self.choice.precision == "fp32" and _FASTER not in program:
            program, new = {**program, _FASTER: _TORCH if _is_slower(part, run) else self.engine.name.encode()}, True
        if kept is not None and new:
            kept.write(program)
        return None if not self.choice.required and program.get(_FASTER) == _TORCH else run


@torch.no_grad()
def _is_slower(part: TensorPart, run: Run) -> bool:
    """Return whether torch takes clearly less time than an engine, for one input and for a batch of windows.

    Of one volume torch takes other convolutions than of two, five times as slow.
    """
    fitting = _PIXELS // math.prod(part.example[0].shape[2:])
    return all(_torch_gains(part, run, part.rows(count)) for count in (1, min(max(2, fitting), _MOST)))


def _torch_gains(part: TensorPart, run: Run, inputs: Sequence[Tensor]) -> bool:
    return _least_time(lambda: part.network(*inputs)) * _TIMES < _least_time(lambda: run(inputs))


def _least_time(answer: Callable[[], object]) -> float:
    """Return the least seconds of runs in a row: threads that wait for more of another's work still take the cores."""
    took = []
    for _ in range(_RUNS):
        started = perf_counter()
        answer()
        took.append(perf_counter() - started)
    return min(took)
