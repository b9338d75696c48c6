"""Draws docs/pictures/serve_*.png: a box, its answer carried on and corrected on ct_b, in the page of a running server.

    python scripts/serve.py bundle=runs/x/bundle input=data/demo
    python docs/pictures/serve.py ADDRESS

The model knows liver, spleen and aorta. Boxes are drawn where the demo's labels have the structures.
"""

import sys
from pathlib import Path

import nibabel as nib
import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # for tests.serve.browser

from tests.serve.browser import Visitor, chromium  # noqa: E402

SCAN = "ct_b"
LABEL = ROOT / "data" / "demo" / "ct_b_label.nii.gz"
STRUCTURES = {"1": 5, "2": 1, "3": 52}  # keys of the page, and values in the label


def main(address):
    label = nib.load(LABEL)
    values = np.asarray(label.dataobj)
    middle = values.shape[2] // 2

    def world(*voxel):
        return (label.affine @ [*voxel, 1.0])[:3].tolist()

    with chromium() as browser:
        person = Visitor(browser, address, scheme="dark")
        person.open(SCAN)
        person.page.evaluate("place => segfocal.viewer.moveToPlace(place)", world(256, 256, middle))
        for key, value in STRUCTURES.items():
            places = np.argwhere(values[:, :, middle] == value)
            lower, upper = places.min(0) - 2, places.max(0) + 2
            person.press(key, "b")
            person.draw(world(*lower, middle), world(*upper, middle))
        person.press("1", "c", "p")
        take(person, "serve_dark")
        person.page.keyboard.press("?")
        take(person, "serve_keys")
        again = Visitor(browser, person.page.url, size="desk", scheme="light")
        again.open(SCAN)
        take(again, "serve_light")


def take(person, name):
    """Write a picture of 256 colours, which is a third as large."""
    path = person.picture(Path(__file__).with_name(f"{name}.png"))
    image = Image.open(path).convert("RGB")
    if image.width > 1280:
        image = image.resize((1280, image.height * 1280 // image.width), Image.Resampling.LANCZOS)
    image.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    main(sys.argv[1])
