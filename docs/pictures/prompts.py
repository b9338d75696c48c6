"""Draws docs/pictures/prompts.png: each kind of prompt about the liver of a demo scan, and the channels it becomes."""

from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from segfocal.intensity import Window
from segfocal.io import volumes
from segfocal.prompts import (
    LASSO_DRAWS,
    Prompt,
    boxes_of,
    jitter_boxes,
    lassos_around,
    scribbles_in,
)
from segfocal.prompts.prompt_channels import KINDS, channels_of, draw_prompts
from segfocal.resample import ModelGrid

LIVER = 5
DEMO = Path(__file__).resolve().parents[2] / "data" / "demo"
COLOURS = {
    "inside": (0.10, 0.85, 0.35),
    "outside": (0.95, 0.25, 0.25),
    "box": (0.20, 0.60, 1.0),
    "mask": (1.0, 0.8, 0.1),
}


def slice_of_liver():
    """Return image [h,w] in [0,1] and mask [1,h,w] of the slice where the liver is largest."""
    grid = ModelGrid(spacing_mm=(2.0, 2.0))
    labels = grid.labels(volumes.read_labels(DEMO / "ct_b_label.nii.gz"), [LIVER]).array == 1
    z = int(labels.sum((1, 2)).argmax())
    image = Window(lower=-160.0, upper=240.0)(grid.image(volumes.read(DEMO / "ct_b_image.nii.gz")).array[z])
    return np.asarray(image), torch.from_numpy(labels[z])[None]


def prompts(mask):
    """Return a prompt of each kind about a mask [1,h,w], by name."""
    none, nothing = Prompt.none(1, device=mask.device), torch.zeros_like(mask).float()
    draws = torch.rand(1, LASSO_DRAWS, generator=torch.Generator().manual_seed(3))
    pixels = mask[0].nonzero()
    y, x = pixels[len(pixels) // 2].tolist()
    apart = torch.zeros_like(mask)
    apart[:, y + 18 : y + 40, x + 45 : x + 75] = True
    line, outside = scribbles_in(mask, torch.tensor([[0.2, 0.05, 0.6, 0.97]])), nothing.clone()
    outside[:, y + 25 : y + 27, x + 42 : x + 80] = 1
    around, none_of_it = lassos_around(mask, draws.clamp(min=0.3)), lassos_around(apart & ~mask, draws) * ~mask
    before = torch.where(mask, 3.0, -4.0)[:, None]
    before[..., : y - 4, :] = -4.0
    clicks = torch.tensor([[[x, y], [x + 40, y + 12]]], dtype=torch.float32)
    return {
        "clicks": none.only_clicks(clicks, torch.tensor([[1, 0]])),
        "box": none.with_boxes(jitter_boxes(boxes_of(mask[:, None].float()), draws[:, 2:6], pixels=2, share=0.05)),
        "scribbles": none.with_scribbles(torch.stack([line, outside], 1)),
        "lassos": none.with_lassos(torch.stack([around, none_of_it], 1)),
        "mask": none.with_mask(before),
    }


def main():
    image, mask = slice_of_liver()
    named = channels_of(KINDS)
    plot = Figure(figsize=(13, 3.9), layout="constrained", facecolor="white")
    axes = plot.subplots(2, 5)
    for column, (kind, prompt) in zip(axes.T, prompts(mask).items(), strict=True):
        channels = dict(zip(named, draw_prompts(prompt, image.shape, click_radius=3.0)[0].numpy(), strict=True))
        shown, bare = np.repeat(image[..., None], 3, 2), np.zeros((*image.shape, 3))
        for name, channel in channels.items():
            colour = np.array(COLOURS["outside" if "outside" in name else "inside" if "inside" in name else name])
            share = np.clip(channel, 0, 1)[..., None] * (0.45 if kind in ("box", "lassos", "mask") else 1.0)
            shown = shown * (1 - share) + colour * share
            bare += np.clip(channel, 0, 1)[..., None] * colour
        for axis, picture in zip(column, (shown, bare), strict=True):
            axis.imshow(np.clip(picture, 0, 1))
            axis.set_ylim(240, 75)  # the body
            axis.set_axis_off()
        column[0].contour(mask[0], [0.5], colors="white", linewidths=0.7)
        column[0].set_title(kind, fontsize=11)
    plot.savefig(Path(__file__).with_suffix(".png"), dpi=90)


if __name__ == "__main__":
    main()
