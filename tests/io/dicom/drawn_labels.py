"""Labels of a series as DICOM stores them: segmentations of any type, and the points of contours."""

import highdicom
import numpy as np
import pydicom

from segfocal.grid import Volume
from segfocal.io import dicom, volumes
from segfocal.io.dicom import seg_writer

NAMES = {3: "liver", 7: "spleen", 9: "nowhere"}
VALUES = {name: value for value, name in NAMES.items()}


def label_map(grid, seed=0):
    return np.random.default_rng(seed).choice([0, 3, 7], grid.shape).astype(np.uint8)


def write_seg(path, series, labels, **options):
    volumes.write(path, Volume(array=labels, grid=dicom.read_grid(series)), like=series, names=NAMES, **options)
    return path


def other_type(series, path, stack, kind, **more):
    """Write a segmentation of a type that segfocal reads and does not write."""
    slices = sorted((pydicom.dcmread(file) for file in series.iterdir()), key=lambda one: one.ImagePositionPatient[2])
    count = stack.shape[3] if stack.ndim == 4 else int(stack.max())
    segments = [seg_writer.describe_segment(number + 1, f"s{number + 1}") for number in range(count)]
    highdicom.seg.Segmentation(
        slices, stack, kind, segments, "1.2.3", 1, "1.2.4", 1, "m", "m", "1", "1", **more
    ).save_as(path)
    return path


def circle(centre, radius, z, count=200):
    angles = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return np.stack([centre[0] + radius * np.cos(angles), centre[1] + radius * np.sin(angles), np.full(count, z)], 1)
