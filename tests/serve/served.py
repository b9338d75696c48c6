"""Scans of bright structures, a model that finds them, and sessions and servers on these."""

from dataclasses import replace

import numpy as np
import torch

from segfocal.inference.bundle import Bundle
from segfocal.inference.predictor import Predictor
from segfocal.inference.prompted.propagation_options import PropagationOptions
from segfocal.inference.sliding.sliding_options import SlidingOptions
from segfocal.intensity import Window
from segfocal.resample import ModelGrid
from segfocal.serve.options import ServeLimits, ServeOptions
from segfocal.serve.scans import ScanList
from segfocal.serve.sessions import Sessions
from segfocal.structure import Structure
from tests.inference.perfect import SIDE, Perfect
from tests.scans import affine_of, make_scan

SHAPE = (24, 20, 9)
AFFINE = affine_of(spacing_mm=(2.0, 3.0, 4.0), axes="LPS", degrees=(9.0, -6.0, 14.0))
BOTH = (Structure(name="liver", value=5), Structure(name="spleen", value=1))
FREE = PropagationOptions(min_overlap=0.0, min_area_mm2=0.0, max_intensity_change=1.0, margin_mm=3.0)
KEY = "a-key-of-the-tests"


def perfect_predictor(**changes):
    bundle = Bundle(
        model=Perfect().eval(), model_config={}, grid=ModelGrid(spacing_mm=(1.5, 1.5)), window=(SIDE, SIDE),
        structures=BOTH, training={}, intensity=Window(lower=0, upper=100), needs_prompts=True,
    )  # fmt: skip
    return Predictor([replace(bundle, **changes)], sliding=SlidingOptions(engine="torch"))


def wedge():
    """Return a bright structure that grows from slice 1 to slice 7, and a small one beside it on slices 2 to 5."""
    inside = np.zeros(SHAPE, dtype=np.int16)
    for z in range(1, 8):
        inside[4 + z // 2 : 15, 3 : 12 + z // 3, z] = 100
    inside[18:22, 13:18, 2:6] = 100
    return inside


def world(*voxel):
    """Return the place of a voxel in mm."""
    return (AFFINE @ [*voxel, 1.0])[:3].tolist()


LIVER, SPLEEN = world(9, 7, 3), world(20, 15, 4)


def options_in(folder, **changes):
    given = {
        "bundle": folder / "run" / "bundle",
        "inputs": folder / "scans",
        "output": folder / "corrected",
        "sessions": folder / "sessions",
        "propagation": FREE,
        "device": torch.device("cpu"),
        "limits": ServeLimits(),
    }
    return ServeOptions(**given | changes)


def make_scans(folder, *names):
    for name in names or ("one", "two"):
        make_scan(folder / "scans" / f"{name}.nii.gz", wedge(), AFFINE)


def sessions_in(folder, predictor=None, **changes):
    """Return the sessions of a folder whose scans are there, as a server that begins finds them."""
    options = options_in(folder, **changes)
    scans = ScanList(options.inputs, uploads=options.sessions / "uploads", output=options.output, channels=1)
    return Sessions(options, predictor or perfect_predictor(), scans)


def opened(folder, name="one", predictor=None):
    """Return the session of a scan, as a server that begins finds it."""
    sessions = sessions_in(folder, predictor)
    return sessions.open(next(scan.id for scan in sessions.scans.all() if scan.name == f"{name}.nii.gz"))
