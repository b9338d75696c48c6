"""A labelled data set of spheres and one small trained run, shared by the system tests; pictures where judged."""

import base64

import pytest

from segfocal.engine import validate
from segfocal.report import plots
from tests.random_bundle import make_bundle
from tests.scans import affine_of, make_sphere_case
from tests.system.commands import segfocal, small_training

BLANK_PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII="
)
PICTURES_OF_A_RUN = ((plots, "draw_training"), (plots, "draw_loss_anatomy"), (validate, "draw_largest"))


@pytest.fixture(autouse=True)
def pictures(request, monkeypatch):
    """Leave blank pictures in run directories, half of a short run's time, unless a test is marked `pictures`."""
    if request.node.get_closest_marker("pictures") is None:
        for module, name in PICTURES_OF_A_RUN:
            monkeypatch.setattr(module, name, blank)


def blank(path, *_, **__):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(BLANK_PNG)


@pytest.fixture(scope="session")
def spheres(tmp_path_factory):
    """A CSV of two training scans and an oblique, anisotropic validation scan."""
    root = tmp_path_factory.mktemp("spheres")
    geometries = {
        "one": affine_of(spacing_mm=(2.0, 2.0, 3.0)),
        "two": affine_of(spacing_mm=(1.5, 1.5, 4.0), axes="LPS"),
        "held": affine_of(spacing_mm=(1.7, 2.1, 3.5), axes="LPS", degrees=(9.0, -6.0, 14.0)),
    }
    rows = ["name,image,label,split"]
    for seed, (name, affine) in enumerate(geometries.items()):
        image, label = make_sphere_case(root, name, shape=(35, 31, 9), affine=affine, radius_mm=12.0, seed=seed)
        split = "val" if name == "held" else "train"
        rows.append(f"{name},{image},{label},{split}")
    path = root / "cases.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.fixture(scope="session")
def run(spheres, tmp_path_factory):
    """The directory of a finished run that has learnt the spheres."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    with pytest.MonkeyPatch.context() as monkeypatch:
        options = small_training(spheres, folder, "train.steps=80", "train.validate_every=40", "augment=light")
        assert segfocal(monkeypatch, "train", *options) == 0
    return folder


@pytest.fixture(scope="session")
def random_bundle(tmp_path_factory):
    """The folder of a bundle of random weights for liver (5) and spleen (1)."""
    return make_bundle(tmp_path_factory.mktemp("random") / "bundle")
