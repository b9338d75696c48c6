"""A promptable model as two ONNX files: one encodes an image once, the other answers any number of prompts about it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from segfocal.models import PromptableModel
from segfocal.models.portable import FREE, IMAGE, LOGITS, write_onnx
from segfocal.models.sam.image_embedding import Embedding
from segfocal.prompts import Prompt

TOKENS, DETAIL = "tokens", "detail_{}"
PROMPT = ("points_xy", "point_labels", "boxes_xyxy", "mask_logits", "has_mask")  # then strokes, if the model has any
ANSWER = (LOGITS, "low_res_logits", "predicted_iou")


class Encoder(nn.Module):
    """The first half of a promptable model: images [b,c,h,w] to tokens [b,·,·,·] and finer details."""

    def __init__(self, model: PromptableModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Return the parts of the embedding, tokens first."""
        embedding = self.model.encode(image)
        return (embedding.tokens, *embedding.details)


class Decoder(nn.Module):
    """The second half of a promptable model: n embeddings with a prompt each to n masks."""

    def __init__(self, model: PromptableModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, embedding: list[Tensor], prompt: list[Tensor]) -> tuple[Tensor, ...]:
        """Return logits [n,1,h,w], low-resolution logits and predicted IoU [n,1].

        embedding: tokens and details. prompt: in the order of PROMPT and the model's strokes; mask_logits counts where
        has_mask is true.
        """
        parts: dict[str, Any] = dict(zip((*PROMPT, *self.model.strokes), prompt, strict=True))
        tokens, *details = embedding
        return tuple(self.model.answer(Embedding(tokens, tuple(details)), Prompt(**parts)))


def write_halves(model: PromptableModel, encoder: Path, decoder: Path, *, channels: int = 1) -> None:
    """Write a promptable model as two ONNX files, its halves `Encoder` and `Decoder`: an image [c,h,w] is encoded once.

    The decoder takes one embedding a prompt, n of them, and c ≥ 1 clicks each.

    Args:
        model: the model to write.
        encoder: file of the image encoder.
        decoder: file of the prompt encoder and the mask decoder.
        channels: of the images.
    """
    image = torch.rand(2, channels, model.image_size, model.image_size)
    with torch.no_grad():
        parts = list(Encoder(model)(image))
    names = [TOKENS, *[DETAIL.format(place) for place in range(len(parts) - 1)]]
    write_onnx(Encoder(model), (image,), encoder, inputs=[IMAGE], outputs=names, free=({0: FREE},), names="b")
    prompt = example_prompt(model, 2, clicks=3)
    free_prompt = [{0: FREE, 1: FREE}, {0: FREE, 1: FREE}, *[{0: FREE} for _ in prompt[2:]]]
    free = ([{0: FREE} for _ in parts], free_prompt)
    inputs, outputs = [*names, *PROMPT, *model.strokes], [*ANSWER]
    write_onnx(Decoder(model), (parts, prompt), decoder, inputs=inputs, outputs=outputs, free=free, names="nc")


def example_prompt(model: PromptableModel, count: int, *, clicks: int) -> list[Tensor]:
    """Return the inputs of `count` prompts: a click, a box around the middle, an empty mask, and no strokes."""
    size = model.image_size
    points, labels = torch.full((count, clicks, 2), size / 2), torch.full((count, clicks), -1)
    labels[:, 0] = 1
    boxes = torch.tensor([size / 4, size / 4, 3 * size / 4, 3 * size / 4]).expand(count, 4).clone()
    mask = torch.zeros(count, 1, *model.mask_size)
    strokes = [torch.zeros(count, 2, size, size) for _ in model.strokes]
    return [points, labels, boxes, mask, torch.ones(count, dtype=torch.bool), *strokes]
