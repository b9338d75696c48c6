"""Small promptable models and batches to train them on."""

import torch
from torch.nn import functional as F

from segfocal.batch import Batch, SampleKey
from segfocal.losses import DiceLoss, FocalLoss, IoUHeadLoss, WeightedSum
from segfocal.models import Answer, PromptableModel, sam_tiny
from segfocal.models.sam.parts import BatchMaskDecoder, Embedding
from segfocal.models.sam.upstream import TwoWayTransformer

SIZE = 32


def criterion(**extra):
    terms = {"focal": FocalLoss(), "dice": DiceLoss(batch=True), **extra}
    return WeightedSum(terms, {name: 20.0 if name == "focal" else 1.0 for name in terms})


def with_iou_head():
    return criterion(iou_head=IoUHeadLoss())


def tiny():
    torch.manual_seed(0)
    return sam_tiny(image_size=SIZE, width=48, heads=6, decoder_width=32)


def several(multimask=True):
    """Return a tiny model that gives three masks too, and answers several prompts an image by repeating it."""
    plain = tiny()
    torch.manual_seed(1)
    plain.mask_decoder = BatchMaskDecoder(
        detail_channels=(64, 32),
        transformer_dim=32,
        transformer=TwoWayTransformer(depth=2, embedding_dim=32, num_heads=8, mlp_dim=64),
        num_multimask_outputs=3 if multimask else 0,
        iou_head_hidden_dim=32,
    )
    plain.__class__ = Repeating
    return plain


class Repeating(PromptableModel):
    """The interface of `decode` in its simplest form."""

    def decode(self, embedding, prompt, multimask=False):
        many = len(prompt) // len(embedding.tokens)
        tokens, *details = (x.repeat_interleave(many, 0) for x in (embedding.tokens, *embedding.details))
        sparse, dense = self.prompt_encoder(prompt)
        masks, ious = self.mask_decoder(
            Embedding(tokens, tuple(details)), self.prompt_encoder.get_dense_pe(), sparse, dense
        )
        wanted = slice(1, None) if multimask else slice(0, 1)
        logits = F.interpolate(masks[:, wanted].float(), size=(SIZE, SIZE), mode="bilinear", align_corners=False)
        return Answer(logits, masks[:, wanted], ious[:, wanted])


def batch(step=2, structures=1, count=4, empty=False):
    """Return images with `structures` squares of different sizes in different places."""
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(count, 1, SIZE, SIZE, generator=generator)
    target = torch.zeros(count, structures, SIZE, SIZE, dtype=torch.uint8)
    for k in range(0 if empty else structures):
        target[:, k, 8 + 4 * k : 20 + 3 * k, 5 : 17 - 3 * k] = 1
    keys = tuple(SampleKey(1, step, i) for i in range(count))
    return Batch(image=image, target=target, keys=keys, sources=("a",) * count)
