"""Broken data sets made by a script: small crops of the demo CT, each spoilt in one way, and what is to be found.

`KINDS` holds a function for each way. It gets a sound case's image and label file (uncompressed NIfTI unless its name
is in `PACKED`), spoils them, and names the checks that must find it: exactly these errors and warnings, no others.
"""

import csv
import gzip
from dataclasses import dataclass
from functools import cache

import nibabel as nib
import numpy as np

from tests import DEMO
from tests.scans import affine_of, make_scan, spoil_header

SHAPE = (30, 28, 9)
AFFINE = affine_of(spacing_mm=(3.0, 3.0, 4.5), origin_mm=(-40.0, -30.0, 12.0))
KINDS = {}


@dataclass(frozen=True)
class Kind:
    """One way of being broken. mendable: fix=true puts it right, so that a second look finds nothing."""

    spoil: object
    checks: frozenset
    mendable: bool
    packed: bool


def kind(*checks, mendable=False, packed=False):
    """Enter a function into `KINDS` under its own name."""

    def enter(spoil):
        KINDS[spoil.__name__] = Kind(spoil, frozenset(checks), mendable, packed)
        return spoil

    return enter


@cache
def _demo():
    image, label = (np.asarray(nib.load(DEMO / f"ct_a_{part}.nii.gz").dataobj) for part in ("image", "label"))
    return image, label


def crop(number):
    """Return image and label arrays of one of many different crops of ct_a, of the upper belly, air around it."""
    image, label = _demo()
    x, y, z = 30 + 3 * (number % 8), 20 + 2 * (number // 8 % 4), 40 + 2 * (number // 32)
    cut = np.s_[x : x + SHAPE[0], y : y + SHAPE[1], z : z + SHAPE[2]]
    array = image[cut].astype(np.int16).copy()
    array[:, :2] = -1000 + np.arange(SHAPE[2])  # air, of another value in each slice
    array[0, 0, 0] = -1024 + number
    return array, np.where(label[cut] == 5, 5, 0).astype(np.uint8)


def make_case(folder, name, number, *, packed=False):
    """Write a sound case and return its image and label file."""
    ending = ".nii.gz" if packed else ".nii"
    image, label = crop(number)
    label[4:8, 4:8, 3:5] = 1 + number % 3
    label[20:24, 4 + number % 16 :, 2] = 2
    for bit in range(8):  # no two labels are the same
        label[2 + 3 * bit : 4 + 3 * bit, 24:27, 7:9] = 3 * (number >> bit & 1)
    return (
        make_scan(folder / "images" / f"{name}{ending}", image, AFFINE),
        make_scan(folder / "labels" / f"{name}{ending}", label, AFFINE),
    )


def make_corpus(folder, names):
    """Write a case of each kind, and the list of them; return the list."""
    rows = [("name", "image", "label", "split")]
    for number, name in enumerate(names):
        image, label = make_case(folder, name, number, packed=KINDS[name].packed)
        KINDS[name].spoil(image, label)
        rows.append((name, image.relative_to(folder), label.relative_to(folder), "val" if number % 5 == 0 else "train"))
    with (folder / "cases.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return folder / "cases.csv"


def rewrite(path, change=lambda array: array, affine=None, dtype=None):
    """Write a file anew with other voxels or another affine."""
    image = nib.load(path)
    array = change(np.asarray(image.dataobj).copy())
    affine = image.affine.copy() if affine is None else affine
    path.unlink()
    make_scan(path, array, affine, dtype=dtype)


# Files


@kind()
def sound(image, label):
    pass


@kind("missing_file")
def missing_image(image, label):
    image.unlink()


@kind("missing_file")
def missing_label(image, label):
    label.unlink()


@kind("empty_file")
def no_bytes(image, label):
    image.write_bytes(b"")


@kind("no_nifti")
def garbage(image, label):
    image.write_bytes(np.random.default_rng(0).bytes(5000))


@kind("no_nifti")
def cut_in_the_header(image, label):
    image.write_bytes(image.read_bytes()[:200])


@kind("no_nifti")
def bad_magic(image, label):
    spoil_header(image, magic=b"abcd")


@kind("damaged")
def cut_short(image, label):
    image.write_bytes(image.read_bytes()[:-500])


@kind("damaged", packed=True)
def packed_and_cut_short(image, label):
    image.write_bytes(image.read_bytes()[:-500])


@kind("damaged", packed=True)
def packed_with_a_flipped_bit(image, label):
    content = bytearray(image.read_bytes())
    content[-6] ^= 1
    image.write_bytes(content)


@kind("damaged")
def header_that_promises_too_much(image, label):
    spoil_header(image, dim=(3, 30000, 30000, 30000, 1, 1, 1, 1))


@kind("damaged")
def negative_sizes(image, label):
    spoil_header(image, dim=(3, -30, 28, 9, 1, 1, 1, 1))


@kind("bytes_after", mendable=True, packed=True)
def bytes_after_the_packed_ones(image, label):
    image.write_bytes(image.read_bytes() + b"and so on" * 9)


@kind("not_packed", mendable=True, packed=True)
def not_packed(image, label):
    image.write_bytes(gzip.decompress(image.read_bytes()))


@kind("packed", mendable=True)
def packed_without_saying(image, label):
    label.write_bytes(gzip.compress(label.read_bytes()))


# Headers


@kind("voxel_type")
def colours(image, label):
    nib.save(nib.Nifti1Image(np.zeros(SHAPE, dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")]), AFFINE), image)


@kind("voxel_type")
def complex_numbers(image, label):
    rewrite(image, lambda array: array.astype(np.complex64))


@kind("voxel_type")
def unknown_type(image, label):
    spoil_header(image, datatype=77)


@kind("several_volumes")
def four_axes(image, label):
    rewrite(image, lambda array: np.stack([array, array], -1))


@kind("not_3d")
def two_axes(image, label):
    rewrite(image, lambda array: array[:, :, 0])


@kind("empty_volume")
def axis_of_nothing(image, label):
    spoil_header(image, dim=(3, 30, 0, 9, 1, 1, 1, 1))


@kind("no_place")
def singular_affine(image, label):
    spoil_header(image, srow_x=(0, 0, 0, 0))


@kind("no_place")
def affine_of_nan(image, label):
    spoil_header(image, srow_x=(np.nan, 0, 0, 0))


@kind("absurd_spacing", "odd_spacing")
def absurd_spacing(image, label):
    for path in (image, label):
        rewrite(path, affine=AFFINE @ np.diag([1, 1, 40, 1]))


@kind("wrong_unit", mendable=True)
def metres(image, label):
    for path in (image, label):
        rewrite(path, affine=np.diag([0.001, 0.001, 0.001, 1]) @ AFFINE)
        spoil_header(path, xyzt_units=1)


@kind("wrong_unit", mendable=True)
def microns(image, label):
    for path in (image, label):
        rewrite(path, affine=np.diag([1000.0, 1000.0, 1000.0, 1]) @ AFFINE)
        spoil_header(path, xyzt_units=3)


@kind("forms_disagree", mendable=True)
def forms_that_disagree(image, label):
    spoil_header(image, qoffset_x=25.0)


@kind("forms_disagree", mendable=True)
def quaternion_that_is_no_rotation(image, label):
    spoil_header(image, quatern_b=3.0)


@kind("pixdim", "forms_disagree", mendable=True)
def spacing_of_zero(image, label):
    spoil_header(image, pixdim=(1, 0, 3, 4.5, 0, 0, 0, 0))


@kind("no_orientation")
def no_orientation(image, label):
    for path in (image, label):
        spoil_header(path, sform_code=0, qform_code=0)


@kind()
def oblique_and_big_endian(image, label):
    """Both are worth a note only."""
    for path in (image, label):
        sound = nib.load(path)
        array, turned = np.asarray(sound.dataobj).copy(), affine_of(spacing_mm=(3, 3, 4.5), degrees=(12, 0, 8))
        path.unlink()
        header = nib.Nifti1Header(endianness=">")
        header.set_data_dtype(array.dtype.newbyteorder(">"))
        header.set_xyzt_units("mm")
        big = nib.Nifti1Image(array, turned, header=header)
        big.set_sform(turned, 1)
        big.set_qform(turned, 1)
        nib.save(big, path)


# Voxels


@kind("not_finite", mendable=True)
def not_finite(image, label):
    def spoil(array):
        array = array.astype(np.float32) + 0.5
        array[3, 4, 5], array[3, 4, 6] = np.nan, np.inf
        return array

    rewrite(image, spoil)


@kind("not_finite", mendable=True)
def label_of_nan(image, label):
    rewrite(label, lambda array: np.where(array == 0, np.nan, array.astype(np.float32)))


@kind("constant_volume")
def constant_volume(image, label):
    rewrite(image, lambda array: np.full_like(array, -1000))


@kind("constant_slices")
def constant_slices(image, label):
    def spoil(array):
        array[:, :, 5:7] = -1000
        return array

    rewrite(image, spoil)


@kind("no_hounsfield")
def intercept_missing(image, label):
    rewrite(image, lambda array: np.clip(array + 1024, 0, 4095))


@kind("no_hounsfield")
def no_air(image, label):
    rewrite(image, lambda array: np.clip(array, -150, 250))


@kind("normalised")
def between_zero_and_one(image, label):
    rewrite(image, lambda array: ((array + 1024) / 4096).astype(np.float32))


@kind("normalised")
def of_mean_zero(image, label):
    rewrite(image, lambda array: ((array - array.mean()) / array.std()).astype(np.float32))


@kind("swapped")
def swapped(image, label):
    held = image.read_bytes()
    image.write_bytes(label.read_bytes())
    label.write_bytes(held)


@kind("image_is_label")
def label_twice(image, label):
    image.write_bytes(label.read_bytes())


@kind("not_whole")
def probabilities(image, label):
    rewrite(label, lambda array: (array / 7).astype(np.float32))


@kind("almost_whole", mendable=True)
def almost_whole(image, label):
    rewrite(label, lambda array: (array * 1.0001).astype(np.float32))


@kind("not_a_label_map")
def negative_label(image, label):
    rewrite(label, lambda array: np.where(array == 2, -1, array.astype(np.int16)))


@kind("empty_label")
def empty_label(image, label):
    rewrite(label, np.zeros_like)


@kind("no_background")
def no_background(image, label):
    rewrite(label, lambda array: np.where(array == 0, 3, array))


@kind("unknown_value")
def unknown_value(image, label):
    rewrite(label, lambda array: np.where(array == 2, 77, array))


# Image and label


@kind("grid_shape", "grid_origin", mendable=True)
def label_of_another_shape(image, label):
    rewrite(label, lambda array: array[:, :24])


@kind("grid_spacing", mendable=True)
def label_of_another_spacing(image, label):
    scale = np.diag([1.1, 1.0, 1.0, 1.0])
    scale[0, 3] = -0.1 * (SHAPE[0] - 1) / 2  # about the middle
    rewrite(label, affine=AFFINE @ scale)


@kind("grid_origin", mendable=True)
def label_moved_far(image, label):
    rewrite(label, affine=affine_of(spacing_mm=(3.0, 3.0, 4.5), origin_mm=(-34.0, -30.0, 12.0)))


@kind("grid_origin", mendable=True)
def label_moved_a_little(image, label):
    rewrite(label, affine=affine_of(spacing_mm=(3.0, 3.0, 4.5), origin_mm=(-38.8, -30.0, 12.0)))


@kind()
def label_stored_the_other_way(image, label):
    """The same place in the body, the array turned round: worth a note, as every reader turns it back."""
    turned = AFFINE @ np.array([[-1.0, 0, 0, SHAPE[0] - 1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    rewrite(label, lambda array: array[::-1], affine=turned)


@kind("apart")
def label_elsewhere(image, label):
    rewrite(label, affine=affine_of(spacing_mm=(3.0, 3.0, 4.5), origin_mm=(900.0, 0.0, 0.0)))


@kind("packed", "wrong_unit", mendable=True)
def one_thing_behind_another(image, label):
    """What is wrong within a file that cannot be opened shows only once its packing is mended."""
    metres(image, label)
    not_finite(image, label)
    spoil_header(image, xyzt_units=1)
    image.write_bytes(gzip.compress(image.read_bytes()))
