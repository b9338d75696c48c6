"""Suggestions: what is suggested for which data, and that each says what it rests on."""

import pytest

from segfocal.fingerprint.suggestions import suggest


def fingerprint(share, *, slices=0.5, mm3=113097.0, spacing=(2.0, 1.0, 1.0), shape=(100, 200, 200), lowest=-1000.0):
    row = {"voxels": 10, "voxel_share": share, "slice_share": slices}
    row["component_mm3"] = {"median": mm3}  # a ball 60 mm across
    row["intensities"] = {"5": 10.0, "50": 50.0, "95": 90.0}
    return {
        "cases": 3,
        "shape": {end: list(shape) for end in ("min", "median", "max")},
        "spacing_mm": {end: list(spacing) for end in ("min", "median", "max")},
        "background": {"easy_share": 0.9, "intensities": {"0.5": lowest}},
        "structures": {"s": row},
    }


def suggested(found, **data):
    return {one.option: one for one in suggest(found, {"spacing_mm": [1.5, 1.5], **data})}


@pytest.mark.parametrize(
    ("share", "alphas", "foreground", "prior"),
    [
        (0.001, [0.5, 0.75, 0.9], 0.5, "auto"),
        (0.05, [0.25, 0.5, 0.75], 0.0, "auto"),
        (0.3, [0.25, 0.5, 0.75], 0.0, None),
    ],
)
def test_the_smaller_the_target_the_more_is_done_for_it(share, alphas, foreground, prior):
    found = suggested(fingerprint(share))
    assert found["loss.terms.focal.alpha"].value == alphas
    assert found["data.foreground"].value == foreground
    assert found["model.prior"].value == prior


@pytest.mark.parametrize("held", [0.05, 0.2, 0.37, 0.5, 1.0])
def test_at_least_half_of_the_samples_show_a_target_of_few_slices(held):
    share = suggested(fingerprint(0.05, slices=held))["data.foreground"].value
    assert share + (1 - share) * held >= 0.5
    assert share == 0 or (share - 0.1) + (1.1 - share) * held < 0.5  # no more than it takes, in tenths


@pytest.mark.parametrize(
    ("mm3", "shape", "spacing", "window"),
    [
        (113097.0, (9, 100, 130), [3.0, 3.0], [48, 48]),  # 60 mm across, so 3 mm: 33 and 43 pixels
        (904.8, (9, 200, 512), [2.0, 2.0], [112, 160]),  # 12 mm across: 100 and 256 pixels
        (8.0, (9, 60, 61), [1.0, 1.0], [64, 64]),  # 2.5 mm across, finer than the scans
    ],
)
def test_spacing_and_window_are_those_of_the_first_recipe(mm3, shape, spacing, window):
    found = suggested(fingerprint(0.05, mm3=mm3, shape=shape))
    assert (found["data.spacing_mm"].value, found["data.window"].value) == (spacing, window)


def test_pictures_keep_their_geometry_and_intensity():
    assert not {"data.spacing_mm", "data.window", "intensity"} & set(suggested(fingerprint(0.05), spacing_mm=None))


def test_numbers_without_a_unit_ask_for_percentiles():
    assert suggested(fingerprint(0.05))["intensity"].value == "ct_soft_tissue"
    assert suggested(fingerprint(0.05, lowest=0.0))["intensity"].value == "percentiles"


def test_structures_of_very_different_size_are_drawn_by_rarity():
    found = fingerprint(0.05)
    assert "data.rare" not in suggested(found)
    found["structures"]["tiny"] = found["structures"]["s"] | {"voxel_share": 0.0001}
    assert suggested(found)["data.rare"].value == 0.5
    assert "tiny fills 0.01 %" in suggested(found)["loss.terms.focal.alpha"].why


def test_every_reason_is_one_sentence_with_a_number():
    for one in suggest(fingerprint(0.001), {"spacing_mm": [1, 1]}):
        assert one.why.endswith(".")
        assert any(letter.isdigit() for letter in one.why), one.option


def test_nothing_is_suggested_without_a_target():
    found = fingerprint(0.05)
    found["structures"]["s"]["voxels"] = 0
    with pytest.raises(ValueError, match="expected a voxel of some target"):
        suggested(found)
