"""Bundles to export: of networks whose answers depend on the place in the window, of small U-Nets and SAMs."""

import torch
from torch import nn

from segfocal.export.export import ExportOptions
from segfocal.inference import bundle as bundles
from segfocal.intensity import Window
from segfocal.models import build
from segfocal.resample import ModelGrid
from segfocal.structure import Structure

STRUCTURES = (Structure(name="bright", value=4), Structure(name="dark", value=2))
BRIGHT = {"_target_": "tests.Bright"}
BRIGHT_VOLUME = {"_target_": "tests.BrightVolume"}
VOLUME = {"window": (8, 24, 24), "grid": ModelGrid(spacing_mm=(2.5, 1.5, 1.7))}
UNET = {"_target_": "segfocal.models.UNet", "channels": 1, "classes": 2, "widths": [8, 8, 16]}
SAM = {"_target_": "segfocal.models.sam_tiny", "image_size": 32, "width": 48, "depth": 1, "decoder_width": 32}
PROMPT_UNET = {"_target_": "segfocal.models.PromptUNet", "image_size": 32, "widths": [16, 24]}  # of before strokes
STROKES = PROMPT_UNET | {"prompts": ["clicks", "box", "mask", "scribbles", "lassos"]}


class Bright(nn.Module):
    """What is brighter or darker than a threshold, a little more so to the right of the window: blending shows."""

    classes = 2

    def __init__(self):
        super().__init__()
        self.smooth = nn.Conv2d(1, 1, 5, padding=2)
        nn.init.constant_(self.smooth.weight, 1 / 25)
        nn.init.zeros_(self.smooth.bias)
        self.register_buffer("right", torch.linspace(-0.05, 0.05, 32))

    def forward(self, image):
        seen = self.smooth(image) + self.right
        return 20 * torch.cat([seen - 0.5, 0.3 - seen], dim=1)


class BrightVolume(nn.Module):
    """`Bright` in windows of 8×24×24 voxels, a little more so upwards too."""

    classes = 2

    def __init__(self):
        super().__init__()
        self.smooth = nn.Conv3d(1, 1, 3, padding=1)
        nn.init.constant_(self.smooth.weight, 1 / 27)
        nn.init.zeros_(self.smooth.bias)
        self.register_buffer("right", torch.linspace(-0.05, 0.05, 24))
        self.register_buffer("up", torch.linspace(-0.05, 0.05, 8)[:, None, None])

    def forward(self, image):
        seen = self.smooth(image) + self.right + self.up
        return 20 * torch.cat([seen - 0.5, 0.3 - seen], dim=1)


def make_bundle(folder, config=BRIGHT, **options):
    """Save a bundle of a model as it is built."""
    torch.manual_seed(0)
    model = build(config).eval()
    count = getattr(model, "classes", 1)
    common = {
        "model": model, "model_config": config, "grid": ModelGrid(spacing_mm=(2.0, 2.0)), "window": (32, 32),
        "intensity": Window(lower=-50.0, upper=150.0), "structures": STRUCTURES[:count], "training": {},
    }  # fmt: skip
    bundles.save(bundles.Bundle(**(common | options)), folder)
    return folder


def options_of(place, output, **options):
    return ExportOptions(**({"bundle": place / "bundle", "output": output, "scan": place / "scan.nii.gz"} | options))
