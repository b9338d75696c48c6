"""A scan of another unit or modality than the bundle was trained on is told apart; crops and padding are not."""

from dataclasses import replace
from functools import cache

import nibabel as nib
import numpy as np
import pytest

from segfocal.grid import Grid, Volume
from segfocal.intensity import Percentiles, PerChannel, Window
from segfocal.intensity_statistics import over_cases, percentiles_of
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


def foreign(array, intensity, *, values=None, spacing_mm=(1, 1, 1)):
    bundle = replace(bundle_of(Channel(0)), intensity=intensity, training_values=values)
    grid = Grid(shape=array.shape[:3], affine=np.diag([*spacing_mm, 1.0]))
    return foreign_intensities(Volume(array=array, grid=grid), bundle)


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
    assert "% of its voxels are above -50, without fat or air" in told(mr, -160, 240).what
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


# By the values that training saw

SPACING = {"ct_a": (6, 6, 3), "ct_b": (1000 / 512, 1000 / 512, 2), "mr_d": (3, 3, 3)}
SOFT = Window(lower=-160, upper=240)


@cache
def scan(name):
    """Return a scan in mm of SPACING: of a CT every second voxel in plane, which is quicker to judge."""
    return read(name) if name == "mr_d" else read(name)[::2, ::2]


@cache
def values_of(*names):
    """Return what a bundle holds that was trained on these scans."""
    return over_cases([[percentiles_of(scan(name))] for name in names])


def judged(array, name, *, by, intensity):
    return foreign(array, intensity, values=values_of(*by), spacing_mm=SPACING[name])


def parts(array):
    """Return a scan, its halves, its middle, and it with padding, as arrays of one spacing."""
    x, y, z = (n // 2 for n in array.shape)
    halves = [array[:x], array[x:], array[:, :y], array[:, y:], array[:, :, :z], array[:, :, z:]]
    middle = array[x // 2 : x + x // 2, y // 2 : y + y // 2]
    return [array, *halves, middle, *(np.pad(array, 12, constant_values=value) for value in (-2000, 0))]


OTHERS = [("ct_a", ["ct_b"]), ("ct_b", ["ct_a"]), ("ct_a", ["ct_a", "ct_b"]), ("mr_d", ["mr_d"])]


@pytest.mark.parametrize("intensity", [SOFT, Window(lower=-1000, upper=1000), Percentiles()])
@pytest.mark.parametrize(("name", "by"), OTHERS[:3])
def test_a_ct_of_another_scanner_or_a_part_of_one_is_as_training_was(name, by, intensity):
    array = scan(name)
    seen = [*parts(array), np.clip(array, -160, 240), array[:, :, :9]]
    assert [judged(one, name, by=by, intensity=intensity) for one in seen] == [None] * len(seen)


def test_an_mr_or_a_part_of_it_in_any_unit_is_as_training_was():
    array = scan("mr_d")
    seen = [one * factor for factor in (1, 40, 0.001) for one in parts(array)]
    seen += [np.clip(array, 0, np.percentile(array, 99)), (array - array.mean()) / array.std()]
    assert [judged(one, "mr_d", by=["mr_d"], intensity=Percentiles()) for one in seen] == [None] * len(seen)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(("name", "by"), OTHERS[:2])
def test_training_values_change_no_warning_of_the_window(name, by, change):
    changed, _, said = CHANGES[change]
    found = judged(changed(scan(name)), name, by=by, intensity=SOFT)
    assert said in found.what
    assert found.share == told(changed(scan(name)), -160, 240).share


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize(("name", "by"), OTHERS[:3])
def test_a_ct_divided_by_ten_is_told_by_training_values_alone(name, by, window):
    intensity, array = Window(lower=WINDOWS[window][0], upper=WINDOWS[window][1]), scan(name) / 10
    for half in (array, array[:, :, : array.shape[2] // 2]):
        found = judged(half, name, by=by, intensity=intensity)
        assert "its values spread over 1" in found.what
        assert found.share is None
        assert foreign(half, intensity) is None or window == "brain"


def test_a_warning_names_what_the_scan_has_and_what_training_saw():
    array = np.pad(np.arange(-1000, 1001).reshape(3, 23, 29) / 10, 1, constant_values=-2000)
    values = over_cases([[[-900, -800, -100, 0, 50, 100, 600]], [[-1000, -800, -100, 0, 50, 100, 500]]])
    found = foreign(array, SOFT, values=values, spacing_mm=(20, 20, 20))
    assert found.what == (
        "its values spread over 198, those of each training scan over 1400 or more; 99 % of its values lie between -99 "
        "and 99, of the training scans' between -1000 and 600"
    )
    assert str(found).startswith(found.what + ". Another unit")
    positive = over_cases([[[0, 1, 2, 3, 5, 8, 9]]])
    harmless = foreign(array - 90, Percentiles(), values=positive, spacing_mm=(20, 20, 20))
    assert "An offset or a factor alone does no harm" in str(harmless)
    assert foreign(array, SOFT, values=values, spacing_mm=(8, 8, 8)) is None  # one litre: an organ may look so


@pytest.mark.parametrize("flip", [lambda a: a.max() - a, lambda a: -a, lambda a: 4095 - 3 * a])
def test_an_inverted_mr_is_told_by_its_shape(flip):
    array = scan("mr_d")
    for part in parts(array)[:7]:
        found = judged(flip(part), "mr_d", by=["mr_d"], intensity=Percentiles())
        assert "its quartiles lie at" in found.what or "far below 0" in found.what
    assert "of its range, those of the training scans at 0.04, 0.18, 0.54" in judged(
        array.max() - array, "mr_d", by=["mr_d"], intensity=Percentiles()
    ).what  # fmt: skip


@pytest.mark.parametrize("name", ["ct_a", "ct_b"])
def test_another_modality_is_told_also_where_the_intensity_is_percentiles(name):
    for part in parts(scan(name))[:7]:
        assert "far below 0" in judged(part, name, by=["mr_d"], intensity=Percentiles()).what
    for part in parts(scan("mr_d"))[:7]:
        assert "above 0" in judged(part, "mr_d", by=[name], intensity=Percentiles()).what
        assert "without fat or air" in judged(part, "mr_d", by=[name], intensity=SOFT).what


def test_training_scans_of_another_unit_are_the_measure(ct):
    raised, lowest = ct + 1024, ct.min()
    values = over_cases([[percentiles_of(raised)]])
    assert foreign(raised, SOFT, values=values) is None
    scaled = (ct - lowest) / (ct.max() - lowest)
    assert foreign(scaled, SOFT, values=over_cases([[percentiles_of(scaled)]])) is None


def test_values_of_other_units_are_judged_by_their_distance_from_training():
    rng = np.random.default_rng(0)
    values = over_cases([[percentiles_of(rng.integers(0, 256, (64, 64, 1)))]])
    picture = Window(lower=0, upper=255)
    assert foreign(rng.integers(120, 255, (64, 64, 1)), picture, values=values) is None  # a bright picture
    assert foreign(rng.integers(0, 65536, (64, 64, 1)), picture, values=values).share > 0.9  # of 16 bits


def test_a_channel_of_which_nothing_is_known_is_judged_by_its_window(ct):
    both = np.stack([ct, ct + 1024], axis=3)
    values = (*over_cases([[percentiles_of(ct)]]), None)
    assert "in channel 1" in foreign(both, SOFT, values=values).what
    assert foreign(both, PerChannel(each=[SOFT, Percentiles()]), values=values) is None
