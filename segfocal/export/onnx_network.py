"""Runs exported networks in onnxruntime, with the methods of the models they were exported from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from segfocal.export.halves import ANSWER, PROMPT
from segfocal.models.portable import IMAGE
from segfocal.models.sam.image_embedding import Embedding
from segfocal.models.sam.promptable_model import Answer
from segfocal.prompts import Prompt, as_clicks_and_boxes
from segfocal.prompts.prompt import STROKES


class OnnxNetwork(nn.Module):
    """A network in an ONNX file, `network(image[b,c,*window]) -> logits[b,k,*window]`, on the CPU."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.session = _session(path)

    def forward(self, image: Tensor) -> Tensor:
        """Return the logits of images, on their device."""
        (logits,) = self.session.run(None, {IMAGE: image.cpu().numpy()})
        return torch.from_numpy(logits).to(image.device)


class OnnxPromptable(nn.Module):
    """A promptable model in two ONNX files; encodes and answers as `PromptableModel` does, on the CPU."""

    def __init__(self, encoder: Path, decoder: Path, *, image_size: int) -> None:
        super().__init__()
        self.encoder, self.decoder, self.image_size = _session(encoder), _session(decoder), image_size
        inputs = {entry.name: entry.shape for entry in self.decoder.get_inputs()}
        self.strokes = tuple(kind for kind in STROKES if kind in inputs)
        self.mask_size = tuple(inputs["mask_logits"][2:])

    def encode(self, image: Tensor) -> Embedding:
        """Return embeddings of images [b,c,h,w] in [0,1]."""
        tokens, *details = map(torch.from_numpy, self.encoder.run(None, {IMAGE: image.cpu().numpy()}))
        return Embedding(tokens=tokens, details=tuple(details))

    def answer(self, embedding: Embedding, prompt: Prompt) -> Answer:
        """Give one mask a prompt, k = 1; embeddings are repeated where there are several prompts an image."""
        count, prompt = len(prompt), as_clicks_and_boxes(prompt, known=self.strokes)
        parts = [p.repeat_interleave(count // len(p), dim=0) for p in (embedding.tokens, *embedding.details)]
        names = [entry.name for entry in self.decoder.get_inputs()]
        mask = torch.zeros(count, 1, *self.mask_size) if prompt.mask_logits is None else prompt.mask_logits
        asked = dict(zip(PROMPT, (prompt.points_xy, prompt.point_labels, prompt.boxes_xyxy), strict=False))
        asked |= {"mask_logits": mask, "has_mask": prompt.has_mask}
        for kind in self.strokes:
            drawn = getattr(prompt, kind)
            asked[kind] = torch.zeros(count, 2, *self.mask_size) if drawn is None else drawn
        given = dict(zip(names, parts, strict=False)) | asked
        answers = self.decoder.run(list(ANSWER), {name: tensor.cpu().numpy() for name, tensor in given.items()})
        return Answer(*map(torch.from_numpy, answers))


def _session(path: Path) -> Any:
    import onnxruntime  # type: ignore[import-untyped, unused-ignore]  # the extra `export`

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", "0"))  # 0: all cores
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
