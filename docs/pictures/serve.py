"""Draws docs/pictures/serve_*.png and view.png: the page with the demo's labels as masks, so that no model matters.

python docs/pictures/serve.py
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import nibabel as nib
import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # for the tests' browser

from segfocal.evaluate.evaluate import evaluate  # noqa: E402
from segfocal.evaluate.options import EvaluationSettings, MaskEvaluation  # noqa: E402
from segfocal.inference import bundle as bundles  # noqa: E402
from segfocal.inference.predictor import Predictor  # noqa: E402
from segfocal.inference.sliding.sliding_options import SlidingOptions  # noqa: E402
from segfocal.structure import Structure  # noqa: E402
from tests.random_bundle import make_bundle  # noqa: E402
from tests.serve.browser import Visitor, chromium, served  # noqa: E402
from tests.serve.view.judged import viewed  # noqa: E402

DEMO = ROOT / "data" / "demo"
VALUES = {"liver": 5, "spleen": 1, "right kidney": 2, "left kidney": 3, "aorta": 52}
MODEL = {"_target_": "segfocal.models.PromptUNet", "image_size": 32, "widths": [8, 16]}
SLICE = 95  # of ct_a
MOST_BYTES = 150_000


def main():
    with TemporaryDirectory() as temporary, chromium() as browser:
        folder = Path(temporary)
        (folder / "scans").mkdir()
        for name in ("ct_a", "ct_b", "mr_d"):
            (folder / "scans" / f"{name}.nii.gz").symlink_to(DEMO / f"{name}_image.nii.gz")
        with served(folder, predictor_in(folder), first=mark) as address:
            person = begun(browser, address, "laptop", "dark")
            person.page.mouse.down()
            person.page.mouse.move(*person.pixel(liver()[1]), steps=5)
            take(person, "serve_dark")
            person.page.keyboard.press("Escape")
            person.page.keyboard.press("?")
            take(person, "serve_keys")
            person = begun(browser, address, "desk", "light")
            take(person, "serve_light")
        with viewed(judged(folder)) as address:
            person = Visitor(browser, address)
            person.open("ct_a")
            person.press("x", "x")
            take(person, "view")


def predictor_in(folder):
    structures = tuple(Structure(name=name, value=value) for name, value in VALUES.items())
    bundle = make_bundle(folder / "bundle", config=MODEL, window=(32, 32), needs_prompts=True, structures=structures)
    return Predictor([bundles.load(bundle)], sliding=SlidingOptions(engine="torch"))


def mark(serving):
    """Give the CTs their labels as a first mask, and save that of ct_b."""
    for scan in serving.scans.all():
        name = scan.name.split(".")[0]
        if name.startswith("ct"):
            session = serving.sessions.open(scan.id)
            label = np.asarray(nib.load(DEMO / f"{name}_label.nii.gz").dataobj)
            for structure, value in VALUES.items():
                if (label == value).any():
                    session.add_mask(structure, label == value)
            if name == "ct_b":
                session.save(serving.options.output)


def judged(folder):
    """Evaluate made-up predictions: the labels, moved by some voxels, and one kidney taken for the spleen."""
    for name, moved in {"ct_a": 3, "ct_b": 6}.items():
        label = nib.load(DEMO / f"{name}_label.nii.gz")
        array = np.asarray(label.dataobj)
        mask = np.roll(array, moved, axis=0)
        mask[array == VALUES["left kidney"]] = VALUES["spleen"]
        (folder / "masks").mkdir(exist_ok=True)
        nib.save(nib.Nifti1Image(mask, label.affine, label.header), folder / "masks" / f"{name}.nii.gz")
    settings = EvaluationSettings(labels=VALUES, groups=("overlap",))
    places = {"prediction": folder / "masks", "reference": DEMO / "ct_*_label.nii.gz", "image": folder / "scans"}
    evaluate(MaskEvaluation(**places, output=folder / "judged", settings=settings, workers=1, pictures=0))
    return folder / "judged"


def liver():
    """Return two corners of the liver's box on the slice that is shown, in world mm."""
    label = nib.load(DEMO / "ct_a_label.nii.gz")
    places = np.argwhere(np.asarray(label.dataobj)[:, :, SLICE] == VALUES["liver"])
    corners = [[*places.min(0) - 2, SLICE], [*places.max(0) + 2, SLICE]]
    return [(label.affine @ [*corner, 1.0])[:3].tolist() for corner in corners]


def begun(browser, address, size, scheme):
    """Return a person who is about to draw a box round the liver of ct_a."""
    person = Visitor(browser, address, size=size, scheme=scheme)
    person.open("ct_a")
    middle = np.mean(liver(), axis=0).tolist()
    person.page.evaluate("place => segfocal.viewer.moveToPlace(place)", middle)
    person.press("b")
    person.page.mouse.move(*person.pixel(liver()[0]))
    return person


def palette_of(image):
    """Return 128 colours: 88 of what most pixels are, the greys, and 40 of what any is, the structures."""
    common, rare = image.quantize(88).getpalette(), image.quantize(40, Image.Quantize.MAXCOVERAGE).getpalette()
    palette = Image.new("P", (1, 1))
    palette.putpalette([*common[: 3 * 88], *rare[: 3 * 40]])
    return palette


def take(person, name):
    """Write a picture of 128 colours, as large as `MOST_BYTES` allow."""
    path = person.picture(Path(__file__).with_name(f"{name}.png"))
    image = Image.open(path).convert("RGB")
    for width in (1280, 1152, 1024, 896):
        smaller = image.resize((width, image.height * width // image.width), Image.Resampling.LANCZOS)
        smaller.quantize(palette=palette_of(smaller), dither=Image.Dither.NONE).save(path, optimize=True)
        if path.stat().st_size <= MOST_BYTES:
            return


if __name__ == "__main__":
    main()
