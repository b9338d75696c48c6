"""A bundle of random weights that segments two structures, and scans of noise."""

import numpy as np
import torch

from segfocal import models
from segfocal.inference import bundle as bundles
from segfocal.intensity import Window
from segfocal.resample import ModelGrid
from segfocal.structure import Structure

MODEL = {"_target_": "segfocal.models.UNet", "classes": 2, "widths": [4, 8, 8]}
STRUCTURES = (Structure(name="liver", value=5), Structure(name="spleen", value=1))


def make_bundle(folder, seed=0, config=MODEL, **changes):
    """Save a bundle of a model as it is built; return its folder."""
    torch.manual_seed(seed)
    facts = {
        "model": models.build(config),
        "model_config": config,
        "window": (16, 16),
        "grid": ModelGrid(spacing_mm=(2.0, 2.0)),
        "intensity": Window(lower=-100, upper=100),
        "structures": STRUCTURES,
        "training": {},
    }
    bundles.save(bundles.Bundle(**(facts | changes)), folder)
    return folder


def image(seed, shape=(21, 18, 7)):
    return np.random.default_rng(seed).integers(-150, 150, shape).astype(np.int16)
