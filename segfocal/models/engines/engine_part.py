"""The parts of a model that an engine runs: each is compared with torch on the first window that shows anything.

A network is one part. Of a SAM the image encoder is one and the mask decoder another, so that the same two programs
answer windows without a prompt, boxes and clicks; embedding a prompt and enlarging a mask stay torch's. Of a
prompt_unet all but the first layer is one part; drawing a prompt, and that layer, stay torch's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from segfocal.errors import UserError, note
from segfocal.memory import give_back
from segfocal.models.engines.engine import EnginePrecision, Run
from segfocal.models.engines.tensor_parts import TensorDecoder, TensorPart
from segfocal.models.sam.image_embedding import Embedding

WITHIN = 1e-3  # of what torch answers: probabilities, or the numbers of an embedding


@dataclass(frozen=True, kw_only=True)
class EngineRules:
    """How a part is run.

    Args:
        engine: name and version, for people.
        precision: in which the engine multiplies.
        required: an answer too far from torch's is an error; otherwise torch takes over, with a note.
    """

    engine: str
    precision: EnginePrecision
    required: bool


class EnginePart(nn.Module):
    """A part of a model on an engine.

    Args:
        part: in torch. It answers where the engine does not.
        run: the same on the engine.
        rules: how.
        title: of the part, for people.
    """

    def __init__(self, part: TensorPart, run: Run, rules: EngineRules, *, title: str) -> None:
        super().__init__()
        self.plain, self.part, self.rules, self.title = part.network, part, rules, title
        self.run: Run | None = run
        self._compared = False

    def answers(self, *inputs: Tensor) -> Sequence[Tensor]:
        """Return what the part makes of inputs, in float32 also under autocast.

        Raises:
            UserError: the engine's answer is too far from torch's, where the engine was asked for by name.
        """
        if self.run is None:
            return self.plain(*inputs)
        given = [tensor.float() if tensor.is_floating_point() else tensor for tensor in inputs]
        return self.run(given) if self._compared else self._first_answers(self.run, inputs, given)

    def _first_answers(self, run: Run, inputs: Sequence[Tensor], given: Sequence[Tensor]) -> Sequence[Tensor]:
        """Compare both on the most varied image, and answer; where all are constant, which shows little, torch does."""
        spread = given[0].flatten(1).std(1)
        if not spread.max() > 0:
            answers = self.plain(*inputs)
            give_back()
            return answers
        self._compared = True
        row = slice(int(spread.argmax()), int(spread.argmax()) + 1)
        one = [tensor if len(tensor) == 1 else tensor[row] for tensor in given]
        exact, allowed = answer_of_torch(self.part, one, self.rules.precision)  # first: it needs the most memory
        give_back()  # what torch took
        answers = run(given)
        apart = distance(self.part, [answer[row] for answer in answers], exact)
        if apart <= allowed:
            return answers
        engine = self.rules.engine
        if self.rules.required:
            raise UserError(
                expected=f"answers of {engine} within {allowed:.2g} of torch's",
                found=f"{apart:.2g} for the {self.title}",
                do="set engine=torch",
            )
        note(f"torch runs the {self.title}: {engine} is {apart:.2g} from its answer, more than {allowed:.2g}")
        self.run = None
        return self.plain(*inputs)


@torch.no_grad()
def answer_of_torch(
    part: TensorPart, inputs: Sequence[Tensor], precision: EnginePrecision
) -> tuple[Sequence[Tensor], float]:
    """Return what torch answers in float32, as it is compared, and how far an engine may be from it.

    In bfloat16 it may be twice as far from it as torch's own bfloat16 answer.

    Args:
        part: in torch.
        inputs: of it.
        precision: of the engine.
    """
    with torch.autocast("cpu", enabled=False):
        exact, allowed = part.compared(part.network(*inputs)), WITHIN
    if precision == "bf16":
        with torch.autocast("cpu", dtype=torch.bfloat16):
            allowed += 2 * _apart(part.compared(part.network(*inputs)), exact)
    return exact, allowed


@torch.no_grad()
def distance(part: TensorPart, answers: Sequence[Tensor], exact: Sequence[Tensor]) -> float:
    """Return how far an engine's answers are from torch's at most, inf if they are of another shape.

    Args:
        part: that was asked.
        answers: of the engine.
        exact: of torch, as they are compared.
    """
    return _apart(part.compared(answers), exact)


def _apart(answers: Sequence[Tensor], exact: Sequence[Tensor]) -> float:
    if [one.shape for one in answers] != [one.shape for one in exact]:
        return float("inf")
    worst = max(float((one.float() - other).abs().max()) for one, other in zip(answers, exact, strict=True))
    return worst if worst == worst else float("inf")  # NaN


class EngineNetwork(EnginePart):
    """A network of images [b,c,*window] to logits [b,k,*window]."""

    def forward(self, image: Tensor) -> Tensor:
        """Return the logits of images."""
        return self.answers(image)[0]


class EngineUNet(EnginePart):
    """A prompt_unet's U-Net, without the first layer."""

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return mask logits and predicted IoU of the first layer's features."""
        logits, predicted_iou = self.answers(features)
        return logits, predicted_iou


class EngineEncoder(EnginePart):
    """A SAM's image encoder."""

    def forward(self, image: Tensor) -> Embedding:
        """Return the embedding of standardised images."""
        tokens, *details = self.answers(image)
        return Embedding(tokens=tokens, details=tuple(details))


class EngineDecoder(EnginePart):
    """A SAM's mask decoder; what it was not converted for is answered by torch's.

    That is several prompts about an image, for which torch computes much only once, and other masks.
    """

    plain: TensorDecoder

    @property
    def num_multimask_outputs(self) -> int:
        """Alternatives that it gives."""
        return self.plain.decoder.num_multimask_outputs

    def forward(
        self, embedding: Embedding, image_pe: Tensor, sparse: Tensor, dense: Tensor, **more: Any
    ) -> tuple[Tensor, Tensor]:
        """Return mask logits and predicted IoU; arguments as of `BatchMaskDecoder.forward`."""
        tokens, visible = embedding.tokens, more["visible"]
        if not len(sparse) == len(dense) == len(tokens) or more["masks"] != self.plain.masks:
            return self.plain.decoder(embedding, image_pe, sparse, dense, **more)
        given = [tokens, image_pe, sparse, dense, *([] if visible is None else [visible]), *embedding.details]
        low_res, predicted_iou = self.answers(*given)
        return low_res, predicted_iou
