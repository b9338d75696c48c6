"""Small promptable models, batches and options to train them with."""

import torch

from segfocal.batch import Batch, Origin, SampleKey
from segfocal.losses import DiceLoss, FocalLoss, IoUHeadLoss, WeightedSum
from segfocal.models import sam_tiny
from segfocal.models.sam.mask_decoder import BatchMaskDecoder
from segfocal.models.sam.two_way_transformer import SharedTwoWayTransformer
from segfocal.tasks import FirstPrompt, RoundPlan

SIZE = 32
PROMPTED = FirstPrompt(none=0, box=1, point=1)
SAM_MED2D = {
    "first": FirstPrompt(none=0, box=1, point=1, drawn_by="batch", empty="background", box_of="largest"),
    "plan": RoundPlan(clicks=[1, 3, 5, 9], keep=False, mask_only=["random", "last"]),
    "rounds": 9,
}


def criterion(**extra):
    terms = {"focal": FocalLoss(), "dice": DiceLoss(batch=True), **extra}
    return WeightedSum(terms, {name: 20.0 if name == "focal" else 1.0 for name in terms})


def with_iou_head():
    return criterion(iou_head=IoUHeadLoss())


def tiny():
    torch.manual_seed(0)
    return sam_tiny(image_size=SIZE, width=48, heads=6, decoder_width=32)


def several(chooses=False):
    """Return a tiny model that can give three masks, and where it `chooses` answers with the best of them."""
    model = tiny()
    torch.manual_seed(1)
    model.mask_decoder = BatchMaskDecoder(
        detail_channels=(64, 32),
        transformer_dim=32,
        transformer=SharedTwoWayTransformer(depth=2, width=32, heads=8, mlp_width=64),
        num_multimask_outputs=3,
        iou_head_hidden_dim=32,
    )
    model.multimask = chooses
    return model


def batch(step=2, structures=1, count=4, empty=False):
    """Return images with `structures` squares of different sizes in different places."""
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(count, 1, SIZE, SIZE, generator=generator)
    target = torch.zeros(count, structures, SIZE, SIZE, dtype=torch.uint8)
    for k in range(0 if empty else structures):
        target[:, k, 8 + 4 * k : 20 + 3 * k, 5 : 17 - 3 * k] = 1
    keys = tuple(SampleKey(1, step, i) for i in range(count))
    return Batch(image=image, target=target, keys=keys, origins=(Origin("a"),) * count)


class Listening:
    """A model's `decode` that keeps its prompts and its answers."""

    def __init__(self, model):
        self.decode, self.prompts, self.answers = model.decode, [], []
        model.decode = self

    def __call__(self, embedding, prompt, **options):
        self.prompts.append(prompt)
        self.answers.append(self.decode(embedding, prompt, **options))
        return self.answers[-1]
