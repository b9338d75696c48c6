"""Tiny scans for tests: NIfTI files of any geometry, and labelled spheres whose volume and centre are known."""

import csv
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy.spatial.transform import Rotation


def affine_of(*, spacing_mm=(1.0, 1.0, 1.0), axes="RAS", degrees=(0.0, 0.0, 0.0), origin_mm=(-7.0, 5.5, 11.25)):
    """Return an affine [4,4] whose array axes run along `axes` (as "LPS"), then turned by three Euler angles.

    origin_mm is the world position of voxel (0,0,0).
    """
    directions = {"R": (1, 0, 0), "L": (-1, 0, 0), "A": (0, 1, 0), "P": (0, -1, 0), "S": (0, 0, 1), "I": (0, 0, -1)}
    columns = np.array([directions[letter] for letter in axes], dtype=float).T
    turn = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    affine = np.eye(4)
    affine[:3, :3] = turn @ columns @ np.diag(spacing_mm)
    affine[:3, 3] = origin_mm
    return affine


AFFINES = {
    "RAS": affine_of(spacing_mm=(1.0, 1.5, 2.0)),
    "LPS": affine_of(spacing_mm=(0.7, 0.7, 3.0), axes="LPS"),
    "oblique": affine_of(spacing_mm=(0.8, 1.1, 2.7), axes="PIR", degrees=(17.0, -11.0, 23.0)),
}


def make_scan(path, array, affine=None, *, sform_code=1, qform_code=1, slope=None, intercept=None, dtype=None):
    """Write `array` as NIfTI with nibabel alone and return the path.

    A form whose code is 0 is left unset, so only the other one holds the affine. slope and intercept are written
    to the header as they are: the file then means slope · array + intercept. dtype: the type on disk.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    affine = AFFINES["RAS"] if affine is None else affine
    image = nib.Nifti1Image(np.asarray(array, dtype=dtype), None)
    image.header.set_zooms([*np.linalg.norm(affine[:3, :3], axis=0), 1.0, 1.0][: image.ndim])
    if sform_code:
        image.set_sform(affine, sform_code)
    if qform_code:
        image.set_qform(affine, qform_code)
    image.header.set_xyzt_units("mm", "sec")
    if slope is not None:
        image.header.set_slope_inter(slope, intercept or 0.0)
    nib.save(image, path)
    return path


def spoil_header(path, **fields):
    """Overwrite fields of an uncompressed NIfTI-1 or NIfTI-2 file's header, sound or not, and return the path."""
    content = path.read_bytes()
    kind = nib.Nifti2Header if int.from_bytes(content[:4], "little") == 540 else nib.Nifti1Header
    size = kind.template_dtype.itemsize
    header = kind(content[:size], check=False)
    for name, value in fields.items():
        header[name] = value
    path.write_bytes(header.binaryblock + content[size:])
    return path


def world_mm(affine, index):
    """Return the world position [...,3] of voxel indices [...,3]."""
    return np.asarray(index, dtype=float) @ affine[:3, :3].T + affine[:3, 3]


def centre_mm(shape, affine):
    """Return the world position of the middle of an array."""
    return world_mm(affine, (np.array(shape) - 1) / 2)


def sphere(shape, affine, *, radius_mm, centre=None):
    """Return the boolean array of voxels within `radius_mm` of a world point (of the middle, unless given)."""
    centre = centre_mm(shape, affine) if centre is None else centre
    indices = np.moveaxis(np.indices(shape), 0, -1)
    return np.linalg.norm(world_mm(affine, indices) - centre, axis=-1) <= radius_mm


def make_sphere_case(
    folder,
    name="case",
    *,
    shape=(23, 19, 7),
    affine=None,
    radius_mm=5.0,
    value=1,
    contrast=100.0,
    seed=0,
    ending=".nii.gz",
):
    """Write a noisy scan with a brighter sphere and its label map; return both paths.

    Files: folder/images/NAME.nii.gz (int16, noise of standard deviation 20) and folder/labels/NAME.nii.gz (uint8,
    `value` inside the sphere). radius_mm=0 writes an empty label map.
    """
    affine = AFFINES["RAS"] if affine is None else affine
    inside = sphere(shape, affine, radius_mm=radius_mm) if radius_mm > 0 else np.zeros(shape, dtype=bool)
    noise = np.random.default_rng(seed).normal(0.0, 20.0, shape)
    image = make_scan(Path(folder) / "images" / (name + ending), (noise + contrast * inside).astype(np.int16), affine)
    label = make_scan(Path(folder) / "labels" / (name + ending), (value * inside).astype(np.uint8), affine)
    return image, label


def make_sphere_cases(folder, count=2, *, splits=None, **options):
    """Write `count` sphere cases "c0", "c1", … and a CSV naming them, and return the CSV's path.

    splits: the split of each case; options: those of `make_sphere_case`.
    """
    folder = Path(folder)
    rows = []
    for i in range(count):
        image, label = make_sphere_case(folder, f"c{i}", seed=i, **options)
        split = splits[i] if splits else ""
        rows.append((f"c{i}", image.relative_to(folder), label.relative_to(folder), split))
    with (folder / "cases.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("name", "image", "label", "split"), *rows])
    return folder / "cases.csv"
