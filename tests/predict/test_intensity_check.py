"""A scan of another unit or modality than the bundle's window is told apart; crops and padding are not."""

import nibabel as nib
import numpy as np
import pytest

from segfocal.grid import Grid, Volume
from segfocal.intensity import Percentiles, PerChannel, Window
from segfocal.predict.intensity_check import foreign_intensities
from tests import ROOT
from tests.inference.bundles import Channel, bundle_of

WINDOWS = {"soft tissue": (-160, 240), "wide": (-1000, 1000), "lung": (-1350, 150), "brain": (0, 80)}


@pytest.fixture(scope="module", params=["ct_a", "ct_b"])
def ct(request):
    return read(request.param)


def read(name):
    return np.asarray(nib.load(ROOT / "data" / "demo" / f"{name}_image.nii.gz").dataobj).astype(np.float32)


def told(array, lower, upper):
    return foreign(array, Window(lower=lower, upper=upper))


def foreign(array, intensity):
    bundle = bundle_of(Channel(0))
    object.__setattr__(bundle, "intensity", intensity)
    return foreign_intensities(Volume(array=array, grid=Grid(shape=array.shape[:3], affine=np.eye(4))), bundle)


@pytest.mark.parametrize("window", WINDOWS)
def test_a_ct_as_it_is_cropped_or_padded_is_no_reason_to_warn(ct, window):
    limits = WINDOWS[window]
    seen = [ct, *(np.pad(ct, 30, constant_values=value) for value in (-2000, -1024, 0))]
    seen += [np.clip(ct, -160, 240), np.where(np.indices(ct.shape)[0] % 2, ct, np.nan)]
    x, y, _ = (n // 2 for n in ct.shape)
    seen += [ct[:, :, :9], ct[x - 30 : x + 30, y - 30 : y + 30], ct[x - 9 : x + 9, y - 12 : y, 3:10]]
    assert [told(array, *limits) for array in seen] == [None] * len(seen)


def test_random_crops_of_the_body_are_no_reason_to_warn(ct):
    rng = np.random.default_rng(0)
    for _ in range(60):
        size = [rng.integers(min(n, 12), max(13, n // 2) + 1) for n in ct.shape]
        at = [rng.integers(0, n - own + 1) for n, own in zip(ct.shape, size, strict=True)]
        crop = ct[tuple(slice(start, start + own) for start, own in zip(at, size, strict=True))]
        if (crop > -200).mean() > 0.3:
            assert told(crop, -160, 240) is None, (at, size)


CHANGES = {
    "offset": (lambda a: a + 1024, 0.4, "above"),
    "twice the offset down": (lambda a: a - 1024, 0.99, "below 0, without tissue"),
    "unit": (lambda a: (a - a.min()) / (a.max() - a.min()), 1.0, "between 0"),
    "8 bit": (lambda a: np.clip((a + 160) / 400, 0, 1) * 255, 1.0, "above -50, without fat or air"),
    "inverted": (lambda a: -a, 0.3, "above 700"),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("window", ["soft tissue", "wide", "lung"])
def test_another_unit_is_told_with_its_share(ct, change, window):
    changed, least, said = CHANGES[change]
    found = told(changed(ct), *WINDOWS[window])
    assert found.share >= least
    assert said in found.what
    assert f"{100 * found.share:.1f} % of its voxels" in str(found)


def test_the_share_is_that_of_the_voxels_counted_by_hand():
    array = np.full((10, 10, 10), -1024.0)
    array[:, :5] = np.linspace(1000, 1500, 500).reshape(10, 5, 10)
    array[0, 0, :] = 30.0
    found = told(array, -160, 240)
    assert found.share == pytest.approx(490 / 500)  # the 500 of −1024 are padding


def test_an_mr_is_told_for_a_ct_window_and_not_for_percentiles():
    mr = read("mr_d")
    assert told(mr, -160, 240).what.startswith("above -50, without fat or air")
    assert foreign(mr, Percentiles()) is None


def test_of_several_channels_the_one_that_differs_is_named(ct):
    both = np.stack([ct, ct + 1024], axis=3)
    window = Window(lower=-160, upper=240)
    assert "in channel 1" in foreign(both, window).what
    assert foreign(both, PerChannel(each=[window, Percentiles()])) is None


def test_windows_of_other_units_are_not_taken_for_hounsfield():
    rng = np.random.default_rng(0)
    assert told(rng.normal(0, 1, (20, 20, 20)), -3, 3) is None  # z-scores
    assert told(rng.integers(120, 255, (64, 64, 1)), 0, 255) is None  # a bright picture
    assert told(rng.integers(0, 65536, (64, 64, 1)), 0, 255).share > 0.9  # of 16 bits
    assert told(np.zeros((5, 5, 5)), 0, 255) is None  # nothing to judge by
