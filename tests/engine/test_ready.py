"""A run knows what the values of its training scans were, and of no other scan."""

import csv

import numpy as np

from segfocal.inference import bundle as bundles
from segfocal.intensity_statistics import percentiles_of
from segfocal.io import nifti


def test_a_trained_bundle_holds_the_range_of_its_training_scans_values_alone(run, spheres):
    rows = list(csv.DictReader(spheres.read_text().splitlines()))
    found = [percentiles_of(nifti.read(row["image"]).array) for row in rows if row["split"] == "train"]
    assert len(found) == 2 < len(rows)
    (channel,) = bundles.load(run / "bundle").training_values
    np.testing.assert_allclose([channel.percentiles.least, channel.percentiles.most], np.sort(found, axis=0))
    np.testing.assert_allclose(channel.percentiles.median, np.mean(found, axis=0), rtol=1e-5)  # six digits
