"""What is tried on a data set follows from its fingerprint."""

import math

import pytest

from segfocal.auto.recipes import overrides, recipes_for
from segfocal.fingerprint.geometry import Geometry


def fingerprint(
    *, mm3=100.0, spacing=(3.0, 0.8, 0.8), shape=(100, 512, 512), background=(-1000, 400), target=(20, 200)
):
    """Return the part of a fingerprint that recipes look at, with one structure of a median component of `mm3`."""
    spread = {"median": list(spacing)}, {"median": list(shape)}
    return {
        "spacing_mm": spread[0],
        "shape": spread[1],
        "structures": {"aorta": {"voxels": 10, "component_mm3": {"median": mm3}, "intensities": levels(*target)}},
        "background": {"intensities": levels(*background)},
    }


def levels(low, high):
    """Return intensities of a fingerprint that run from low to high."""
    return {"0.5": low - 4, "5": low, "50": (low + high) / 2, "95": high, "99.5": high + 4}


def ball(diameter):
    return math.pi / 6 * diameter**3


SIZES = [(60, 3.0, 1.5), (12, 2.0, 1.0), (5, 0.83, 0.8), (2, 0.8, 0.8)]


@pytest.mark.parametrize(("diameter", "coarse", "fine"), SIZES)
def test_pixels_are_a_sixth_of_the_target_no_finer_than_the_scans_and_no_coarser_than_3_mm(diameter, coarse, fine):
    geometry = Geometry.of(fingerprint(mm3=ball(diameter)))
    assert geometry.across_mm == pytest.approx(diameter)
    assert (geometry.coarse_mm, geometry.fine_mm) == (coarse, fine)


def test_a_window_holds_the_slice_in_multiples_of_sixteen_up_to_a_limit():
    geometry = Geometry.of(fingerprint(mm3=ball(60)))  # 409.6 mm at 3 mm are 136.5 pixels
    assert geometry.window(3.0, "coarse") == [144, 144]
    assert geometry.window(1.5, "fine") == [224, 224]
    assert Geometry.of(fingerprint(mm3=ball(60), shape=(9, 20, 20))).window(3.0, "coarse") == [32, 32]


def test_the_simplest_comes_first_and_thick_slices_get_no_3d_patches():
    names = [recipe.name for recipe in recipes_for(fingerprint(mm3=ball(60)))]
    assert names == ["unet_coarse", "unet_25d", "unet_wide", "unet_fine", "unet_3d"]
    thick = [recipe.name for recipe in recipes_for(fingerprint(mm3=ball(60), spacing=(10, 0.8, 0.8)))]
    assert "unet_3d" not in thick


def test_where_the_scans_are_as_coarse_as_the_target_allows_nothing_finer_is_tried():
    names = [recipe.name for recipe in recipes_for(fingerprint(mm3=ball(60), spacing=(3, 3, 3)))]
    assert "unet_fine" not in names


def test_every_recipe_starts_from_the_prior_with_a_loss_for_small_targets():
    for recipe in recipes_for(fingerprint(mm3=ball(20))):
        assert recipe.options["model.prior"] == "auto"
        assert recipe.options["loss"] == "focal+dice"


def test_what_the_user_typed_wins_over_a_recipe():
    options = {"model": "unet", "data.spacing_mm": [3.0, 1.5], "train.lr": 0.003, "data.x": None}
    assert overrides(options, ["data.spacing_mm=[1,1]", "+train.lr=1"]) == ["model=unet", "data.x=null"]
    assert overrides(options, []) == ["model=unet", "data.spacing_mm=[3,1.5]", "train.lr=0.003", "data.x=null"]


def test_a_target_that_no_case_has_is_an_error():
    empty = fingerprint(mm3=1.0)
    empty["structures"]["aorta"]["voxels"] = 0
    with pytest.raises(ValueError, match="target"):
        recipes_for(empty)


@pytest.mark.parametrize(
    ("background", "target", "channels", "options"),
    [
        ((-1000, 400), (20, 200), 1, {"intensity": "ct_soft_tissue"}),
        ((-1000, 400), (-855, 100), 1, {"intensity": "ct_soft_tissue", "intensity.lower": -860.0}),
        ((-1000, 400), (150, 903), 1, {"intensity": "ct_soft_tissue", "intensity.upper": 910.0}),
        ((-1000, 400), (-100, 550), 1, {"intensity": "ct_soft_tissue"}),  # an artery, with and without contrast agent
        ((0, 800), (300, 400), 1, {"intensity": "percentiles"}),
        ((-1000, 400), (20, 200), 2, {"intensity": "percentiles"}),
    ],
)
def test_intensities_are_seen_as_the_scans_and_targets_are(background, target, channels, options):
    for recipe in recipes_for(fingerprint(background=background, target=target), channels=channels):
        assert {name: value for name, value in recipe.options.items() if name.startswith("intensity")} == options


def test_pictures_are_seen_with_their_eight_bits():
    assert {recipe.options["intensity"] for recipe in recipes_for({}, pictures=True)} == {"eight_bit"}


@pytest.mark.parametrize("typed", ["intensity=percentiles", "intensity.lower=-100"])
def test_who_chooses_anything_of_the_intensity_has_all_of_it(typed):
    options = {"intensity": "ct_soft_tissue", "intensity.upper": 910.0, "loss": "focal"}
    assert overrides(options, [typed]) == ["loss=focal"]


def test_who_chooses_the_model_gets_no_options_of_another_one():
    options = {"model": "unet", "model.widths": [8, 16], "data.window": [64, 64]}
    assert overrides(options, ["model=sam_tiny", "data=csv"]) == ["data.window=[64,64]"]
