"""Label maps on the grid of a scan, as files."""

import nibabel as nib
import numpy as np

from segfocal.grid import Volume
from segfocal.io import nifti

SHAPE = (7, 5, 4)
HEADER_MM = 1e-4  # headers hold affines and quaternions as float32: 7 digits of some hundred millimetres


def random_labels(shape=SHAPE, high=4, seed=0):
    return np.random.default_rng(seed).integers(0, high, shape).astype(np.int16)


def on_grid_of(path, array):
    return Volume(array=array, grid=nifti.read_grid(path))


def written(path, array, like, **options):
    nifti.write(path, on_grid_of(like, array), like=like, **options)
    return nib.load(path)
