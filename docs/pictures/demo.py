"""Draws docs/pictures/demo.png, the top of README: a slice of the demo's held-out scan, its reference, the demo's mask.

segfocal demo && python docs/pictures/demo.py
"""

import argparse
from pathlib import Path

import nibabel as nib
import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

import segfocal

ROOT = Path(__file__).parents[2]
SCAN, LABEL = (ROOT / "data" / "demo" / f"ct_b_{kind}.nii.gz" for kind in ("image", "label"))
LIVER = 5  # its value in label and mask
WINDOW, AIR = (-160, 240), -300  # Hounsfield units
MARGIN = 12  # pixels


def slice_of(path, z):
    """Return a slice as a picture has it: rows from front to back, the patient's left to the right."""
    return np.asarray(nib.as_closest_canonical(nib.load(path)).dataobj)[:, :, z][::-1, ::-1].T


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, default=ROOT / "runs" / "demo", help="of segfocal demo")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".png"))
    asked = parser.parse_args()
    mask = asked.run / "ct_b_mask.nii.gz"
    dice = segfocal.metrics.evaluate(mask, LABEL, labels={"liver": LIVER}, groups=["overlap"])[0]["dice"]
    label = np.asarray(nib.as_closest_canonical(nib.load(LABEL)).dataobj)
    z = int((label == LIVER).sum((0, 1)).argmax())
    scan = slice_of(SCAN, z)
    rows = np.flatnonzero((scan > AIR).any(1))
    shown = slice(max(0, rows[0] - MARGIN), rows[-1] + MARGIN)
    plot = Figure(figsize=(12, 3.0), layout="constrained", facecolor="white")
    titles = {"scan": None, "reference": LABEL, f"the demo's mask: Dice {dice:.2f}": mask}
    for axes, (title, path) in zip(plot.subplots(1, 3), titles.items(), strict=True):
        axes.imshow(scan[shown], cmap="gray", vmin=WINDOW[0], vmax=WINDOW[1])
        if path is not None:
            inside = slice_of(path, z)[shown] == LIVER
            colour = "#00c853" if path == LABEL else "#ff5252"
            axes.imshow(np.ma.masked_where(~inside, inside), cmap=ListedColormap([colour]), alpha=0.45)
        axes.set_title(title, fontsize=11)
        axes.axis("off")
    plot.savefig(asked.output, dpi=100)


if __name__ == "__main__":
    main()
