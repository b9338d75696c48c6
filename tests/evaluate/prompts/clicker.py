"""A model whose answers are known in advance, and how tests evaluate it."""

import csv

import torch
from torch import nn

from segfocal.data.cases import read_cases
from segfocal.data.store.prepared_case import Preparation
from segfocal.evaluate.prompts.evaluate import evaluate_prompts
from segfocal.evaluate.prompts.options import PromptEvaluation
from segfocal.evaluate.prompts.protocol import Protocol
from segfocal.intensity import Window
from segfocal.models import Answer, PromptableModel, sam_tiny
from segfocal.models.sam.image_embedding import Embedding
from segfocal.resample import ModelGrid
from segfocal.structure import Structure

SIDE = 24
BALL, ROD = Structure(name="ball", value=1), Structure(name="rod", value=7)


class Clicker(PromptableModel):
    """Answers with the pixels that were clicked as inside; a box with the target in it, no prompt with everything.

    The image shows the targets. With a mask prompt, an answer is that mask and the last click.
    """

    def __init__(self, side=SIDE):
        nn.Module.__init__(self)
        self.image_size, self.image_encoder, self.encoded = side, nn.Identity(), 0
        self.image_shape = (side, side)

    def encode(self, image):
        self.encoded += len(image)
        return Embedding(tokens=image)

    def answer(self, embedding, prompt):
        image = embedding.tokens.repeat_interleave(len(prompt) // len(embedding.tokens), 0)
        mask = torch.zeros(len(prompt), *image.shape[2:], dtype=torch.bool)
        for row, out in enumerate(mask):
            clicks = prompt.points_xy[row][prompt.point_labels[row] > 0].long().tolist()
            box = prompt.boxes_xyxy[row]
            if torch.isfinite(box).all():
                x0, y0, x1, y1 = box.round().long().tolist()
                out[y0:y1, x0:x1] = image[row, 0, y0:y1, x0:x1] > 0.5
            elif not clicks:
                out[:] = True
            elif prompt.has_mask[row]:
                out |= prompt.mask_logits[row, 0] > 0
            for x, y in clicks[-1:]:
                out[y, x] = True
        logits = torch.where(mask, 5.0, -5.0)[:, None]
        return Answer(logits, logits, torch.zeros(len(mask), 1))


def evaluation(data, output, model=None, **options):
    own = {"structures": (BALL, ROD), "spacing_mm": None, "cases": None} | options
    protocol = {name: own.pop(name) for name in list(own) if name in Protocol.__dataclass_fields__}
    preparation = Preparation(
        grid=ModelGrid(spacing_mm=own.pop("spacing_mm")),
        intensity=Window(lower=0.0, upper=100.0),
        structures=own.pop("structures"),
    )
    chosen = own.pop("cases")
    cases = [case for case in read_cases(data / "cases.csv").cases if chosen is None or case.name in chosen]
    return PromptEvaluation(
        model=model or Clicker(),
        preparation=preparation,
        cases=cases,
        protocol=Protocol(**protocol),
        output=output,
        cache=data / "prepared",
        device="cpu",
        **own,
    )


def evaluated(data, output, model=None, **options):
    """Evaluate and return the scores as read from the file, numbers as numbers."""
    evaluate_prompts(evaluation(data, output, model, **options))
    with (output / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [row | {name: float(row[name]) for name in ("slice", "pixels", "dice", "iou")} for row in rows]


def tiny(side=SIDE):
    torch.manual_seed(0)
    return sam_tiny(image_size=side, width=48, depth=1, decoder_width=32)
