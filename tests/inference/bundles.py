"""Bundles that see a scan as it is, scans made of arrays, and what a predictor makes of them."""

import numpy as np
import torch
from torch import nn

from segfocal import models
from segfocal.grid import Grid, Volume
from segfocal.inference.bundle import Bundle
from segfocal.intensity import Window
from segfocal.resample import ModelGrid
from segfocal.structure import Structure

BALL = (Structure(name="ball", value=1),)
UNIT = Window(lower=0.0, upper=1.0)


def scan_of(array, spacing_mm=(1.0, 1.0, 1.0)):
    """Return slices [d,h,w] as a volume that a model sees as they are, in the frame RAS."""
    return Volume(array=array, grid=Grid(shape=array.shape, affine=np.diag([*spacing_mm, 1.0])))


def noise(*shape, seed=0):
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def bundle_of(model, *, window=(8, 8), spacing_mm=None, frame="RAS", neighbours=0):
    return Bundle(
        model=model, model_config={}, grid=ModelGrid(frame=frame, spacing_mm=spacing_mm), window=window, intensity=UNIT,
        structures=BALL, training={}, neighbours=neighbours,
    )  # fmt: skip


def logits_of(predictor, image):
    return torch.cat([slab.logits for slab in predictor.slabs(image)], dim=1)


class Channel(nn.Module):
    """Gives one of its channels as logits."""

    def __init__(self, channel):
        super().__init__()
        self.channel = channel

    def forward(self, image):
        return image[:, self.channel : self.channel + 1] - 0.5


class Bright(nn.Module):
    """Answers where a voxel is brighter than one half, after a look at how many axes it is given."""

    def forward(self, image):
        assert image.ndim == 5
        return (image[:, :1] - 0.5) * 16


def small_unet(classes=2):
    torch.manual_seed(0)
    return models.UNet(dims=3, classes=classes, widths=(4, 4, 8)).eval()
