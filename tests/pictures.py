"""PNG pictures for tests, and a small folder in SAM-Med2D's layout made from the demo CT."""

import json
from functools import cache
from pathlib import Path

import nibabel as nib
import numpy as np
from PIL import Image
from scipy.ndimage import label as components

from tests import DEMO

TRAINED, JUDGED = (4, 7, 10, 13), (16,)  # slices of ct_b
STRUCTURES = ("liver", "spleen", "aorta")


def make_png(path, rows, **options):
    """Write pixels [h,w] or [h,w,channels] with Pillow alone and return the path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(rows)).save(path, **options)
    return path


def rows_of(path):
    """Return a picture's pixels as Pillow reads them."""
    with Image.open(path) as picture:
        return np.asarray(picture)


@cache
def _demo_ct():
    image = np.asarray(nib.load(DEMO / "ct_b_image.nii.gz").dataobj)[::4, ::4].astype(float)  # LPS: x, y, slices
    grey = np.clip((image + 160) / 400 * 255, 0, 255).astype(np.uint8)
    labels = np.asarray(nib.load(DEMO / "ct_b_label.nii.gz").dataobj)[::4, ::4]
    names = {name: int(value) for value, name in json.loads((DEMO / "label_names.json").read_text())["ct"].items()}
    return grey[:, 10:110], labels[:, 10:110], names


def slice_of(index):
    """Return the rows [100,128] of a slice of ct_b as grey levels, and each structure's."""
    grey, labels, names = _demo_ct()
    return grey[:, :, index].T, {name: names[name] == labels[:, :, index].T for name in STRUCTURES}


def make_sam_med2d(root, *, prefix="data_demo/", trained=TRAINED, judged=JUDGED):
    """Write images/, masks/ (a file a connected piece of a structure) and both JSON files; return the folder."""
    train, test = {}, {}
    for index in (*trained, *judged):
        grey, structures = slice_of(index)
        image = make_png(root / "images" / f"ct_b_{index}.png", grey)
        masks = []
        for name, inside in structures.items():
            pieces, count = components(inside)
            for piece in range(count):
                mask = np.uint8(255) * (pieces == piece + 1)
                masks.append(make_png(root / "masks" / f"ct_b_{index}_{name}_{piece:03d}.png", mask))
        listed = [prefix + path.relative_to(root).as_posix() for path in (image, *masks)]
        if index in trained:
            train[listed[0]] = listed[1:]
        else:
            test |= dict.fromkeys(listed[1:], listed[0])
    (root / "image2label_train.json").write_text(json.dumps(train))
    (root / "label2image_test.json").write_text(json.dumps(test))
    return root
