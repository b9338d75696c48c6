"""What a training step did before it was made faster, operation by operation: benchmarks/train.py puts it back."""

from contextlib import ExitStack, contextmanager

import torch
from torch.nn import functional as F

from segfocal.augment import random_parameters
from segfocal.losses import WeightedSum, fused
from segfocal.models import unet
from segfocal.models.sam.layer_norm import FusedLayerNorm2d
from segfocal.models.sam.mask_decoder import BatchMaskDecoder
from segfocal.models.sam.two_way_transformer import add_shared
from segfocal.models.sam.upstream import LayerNorm2d

CHANGES = {
    "fields": "smooth fields of the augmentation by products of matrices",
    "optimiser": "AdamW's step in one loop",
    "anatomy": "where the loss comes from told by the sums of its one pass",
    "decoder": "SAM's masks in lists of tokens, details projected once a step, layer norms of maps fused",
    "norms": "instance norms trained as group norms",
    "channels_last": "sam_tiny in channels-last memory order",
}
OF_ONE_MODEL = {"decoder": "sam_tiny", "channels_last": "sam_tiny", "norms": "unet"}


def bicubic(coarse, size):
    return F.interpolate(coarse, size=size, mode="bicubic", align_corners=True)


own_anatomy, own_sums = WeightedSum._anatomy, fused.pixel_sums


def anatomy_by_pixels(criterion, logits, target, masks, sums):
    return own_anatomy(criterion, logits, target, masks, None)


def sums_alone(logits, target, *, anatomy, **options):
    return own_sums(logits, target, **options)


def unprojected(decoder, details):
    return details


def masks_on_maps(decoder, source, queries, size, details=()):
    """Return mask logits as SAM computes them, on maps; details as the encoder gives them, projected every round."""
    up_once, norm, act_once, up_twice, act_twice = decoder.output_upscaling
    coarse, fine = (project(maps) for project, maps in zip(decoder.detail_projections, details, strict=True))
    half = act_once(norm(add_shared(up_once(source.transpose(1, 2).unflatten(2, size)), coarse)))
    return torch.einsum("nkc,nchw->nkhw", queries, act_twice(add_shared(up_twice(half), fine)))


BEFORE = {
    "fields": [(random_parameters, "interpolated", bicubic)],
    "anatomy": [(WeightedSum, "_anatomy", anatomy_by_pixels), (fused, "pixel_sums", sums_alone)],
    "decoder": [
        (BatchMaskDecoder, "projected", unprojected),
        (BatchMaskDecoder, "mask_logits", masks_on_maps),
        (FusedLayerNorm2d, "forward", LayerNorm2d.forward),
    ],
    "norms": [(unet, "_trains_on_cpu", lambda norm, maps: False)],
}


@contextmanager
def put_back(changes):
    """Put the operations before these changes in their places for as long as the block runs."""
    with ExitStack() as kept:
        for owner, name, before in (entry for change in changes for entry in BEFORE.get(change, ())):
            kept.callback(setattr, owner, name, vars(owner)[name])
            setattr(owner, name, before)
        yield


def options_before(changes):
    """Return the options of a run without these changes."""
    return ["train.channels_last=false"] if "channels_last" in changes else []


def step_as_before(optimizer, changes):
    """Make an optimiser step as it did before these changes."""
    for group in optimizer.param_groups if "optimiser" in changes else ():
        group["fused"] = None
