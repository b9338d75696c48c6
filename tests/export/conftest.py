"""One exported bundle, shared by the tests of export."""

import numpy as np
import pytest

from segfocal.export.export import ExportOptions, export
from segfocal.models import ALLOWED
from tests.export.bundles import BRIGHT_VOLUME, VOLUME, Bright, BrightVolume, make_bundle
from tests.scans import affine_of, make_scan, sphere


@pytest.fixture(scope="session")
def allowed():
    """Let bundles hold the networks of tests."""
    own = {"tests.Bright": Bright, "tests.BrightVolume": BrightVolume}
    ALLOWED.update(own)
    yield
    for name in own:
        del ALLOWED[name]


@pytest.fixture(scope="session")
def place(tmp_path_factory, allowed):
    """A folder with a scan (oblique, anisotropic, smaller and larger than a window), a bundle, and its export."""
    folder = tmp_path_factory.mktemp("export")
    affine = affine_of(spacing_mm=(0.9, 1.3, 3.5), axes="LPS", degrees=(9.0, -6.0, 14.0))
    generator = np.random.default_rng(0)
    inside = sphere((85, 45, 7), affine, radius_mm=14.0)
    make_scan(folder / "scan.nii.gz", (generator.normal(0, 15, inside.shape) + 100 * inside).astype(np.int16), affine)
    make_bundle(folder / "bundle")
    options = ExportOptions(bundle=folder / "bundle", output=folder / "onnx", scan=folder / "scan.nii.gz")
    export(options)
    return folder


@pytest.fixture(scope="session")
def volume_place(place, tmp_path_factory):
    """A folder with the same scan, a bundle of 3-D windows on resampled slices, and its export."""
    folder = tmp_path_factory.mktemp("export_3d")
    (folder / "scan.nii.gz").symlink_to(place / "scan.nii.gz")
    make_bundle(folder / "bundle", BRIGHT_VOLUME, **VOLUME)
    export(ExportOptions(bundle=folder / "bundle", output=folder / "onnx", scan=folder / "scan.nii.gz"))
    return folder
