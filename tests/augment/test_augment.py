"""Augmentation of whole batches."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from segfocal.augment import Augment
from segfocal.augment.images import decided
from segfocal.batch import Batch, Origin, SampleKey

STRONG = Augment(
    rotate=0.4,
    scale=0.3,
    anisotropy=0.15,
    shift=0.2,
    elastic=2.5,
    flip=["h", "w"],
    contrast=0.3,
    gamma=0.5,
    brightness=0.1,
    bias=0.15,
    blur=0.5,
    noise=0.06,
)


def batch(indices=range(4), size=(37, 45)):
    generator = torch.Generator().manual_seed(3)
    image = torch.rand(8, 1, *size, generator=generator)[list(indices)]
    target = (torch.rand(8, 2, *size, generator=generator) < 0.3).to(torch.uint8)[list(indices)]
    keys = tuple(SampleKey(0, 7, i) for i in indices)
    return Batch(image=image, target=target, keys=keys, origins=tuple(Origin(str(i)) for i in indices))


def test_without_augmentation_a_batch_is_cut_to_its_centre_and_unchanged():
    plain = batch(size=(36, 44))
    out = Augment()(plain, size=(20, 30))
    torch.testing.assert_close(out.image, plain.image[:, :, 8:28, 7:37], rtol=0, atol=1e-5)  # grid_sample's rounding
    assert torch.equal(out.target, plain.target[:, :, 8:28, 7:37])


def test_a_sample_is_augmented_by_its_own_key_whatever_stands_beside_it():
    together, alone = STRONG(batch(), size=(32, 32)), STRONG(batch([2]), size=(32, 32))
    torch.testing.assert_close(together.image[2:3], alone.image, rtol=0, atol=1e-6)
    assert torch.equal(together.target[2:3], alone.target)


def test_samples_are_augmented_differently():
    same = batch()
    same.image[:] = same.image[:1]
    out = STRONG(same, size=(32, 32)).image
    assert (out[0] - out[1]).abs().mean() > 0.01


def test_images_stay_in_range_and_targets_stay_binary():
    out = STRONG(batch(), size=(32, 32))
    assert out.image.min() >= 0
    assert out.image.max() <= 1
    assert out.target.dtype == torch.uint8
    assert set(out.target.unique().tolist()) <= {0, 1}


def test_image_and_target_move_together():
    disc = ((torch.arange(64) - 30) ** 2 + (torch.arange(64)[:, None] - 33) ** 2 < 200).float()[None, None]
    moved = Augment(rotate=0.4, scale=0.3, anisotropy=0.15, shift=0.1, elastic=2.0, flip=["h", "w"])(
        Batch(image=disc, target=disc.to(torch.uint8), keys=(SampleKey(0, 0, 0),), origins=(Origin(""),)), size=(64, 64)
    )
    assert ((moved.image >= 0.5) == moved.target.bool()).all()
    assert moved.target.sum() > 50


def test_a_flip_mirrors_exactly():
    plain = batch(range(8))
    out = Augment(flip=["w"])(plain, size=(37, 45))
    mirrored = [not torch.allclose(o, p, atol=1e-5) for o, p in zip(out.image, plain.image, strict=True)]
    assert 0 < sum(mirrored) < 8
    for o, p, turned in zip(out.image, plain.image, mirrored, strict=True):
        torch.testing.assert_close(o, p.flip(-1) if turned else p, rtol=0, atol=1e-5)  # grid_sample's rounding


def test_a_window_smaller_by_an_odd_number_of_pixels_stays_on_them():
    plain = batch(size=(37, 45))
    out = Augment()(plain, size=(20, 30))
    torch.testing.assert_close(out.image, plain.image[:, :, 9:29, 8:38], rtol=0, atol=1e-5)  # grid_sample's rounding
    assert torch.equal(out.target, plain.target[:, :, 9:29, 8:38])


def test_the_numbers_of_a_setting_do_not_depend_on_the_others():
    plain = batch()
    extended = replace(STRONG, zoom=0.0, window_jitter=0.0, coarse=0.0, coarse_factor=3.0, labels="linear")
    assert torch.equal(STRONG(plain, size=(32, 32)).image, extended(plain, size=(32, 32)).image)
    with_gates = replace(STRONG, probability=dict.fromkeys(("rotate", "noise", "elastic"), 1.0))
    assert torch.equal(STRONG(plain, size=(32, 32)).image, with_gates(plain, size=(32, 32)).image)


def test_a_setting_of_probability_0_is_left_out():
    plain = batch()
    without = replace(STRONG, probability={"rotate": 0, "elastic": 0, "shift": 0, "contrast": 0, "noise": 0})
    off = replace(STRONG, rotate=0.0, elastic=0.0, shift=0.0, contrast=0.0, noise=0.0)
    torch.testing.assert_close(without(plain, size=(32, 32)).image, off(plain, size=(32, 32)).image, rtol=0, atol=1e-5)


def test_a_setting_of_probability_one_half_changes_half_of_the_samples():
    plain = batch(range(8))
    plain = replace(plain, keys=tuple(SampleKey(0, 1, i) for i in range(8)))
    changed = Augment(brightness=0.2, probability={"brightness": 0.5})(plain, size=(37, 45)).image
    different = (changed - plain.image).abs().amax((1, 2, 3)) > 1e-4
    assert 0 < different.sum() < 8


# Channels and volumes


def volumes(depth=6, channels=2, size=(37, 45), count=3):
    generator = torch.Generator().manual_seed(5)
    image = torch.rand(count, channels, depth, *size, generator=generator)
    target = (torch.rand(count, 2, depth, *size, generator=generator) < 0.3).to(torch.uint8)
    keys = tuple(SampleKey(0, 7, i) for i in range(count))
    return Batch(image=image, target=target, keys=keys, origins=(Origin(""),) * count)


def test_a_slice_is_a_volume_one_slice_deep():
    plain = batch()
    deep = replace(plain, image=plain.image.unsqueeze(2), target=plain.target.unsqueeze(2))
    out, as_volume = STRONG(plain, size=(32, 32)), STRONG(deep, size=(1, 32, 32))
    assert torch.equal(out.image, as_volume.image.squeeze(2))
    assert torch.equal(out.target, as_volume.target.squeeze(2))


def test_every_slice_of_a_volume_moves_alike():
    plain = volumes()
    moving = Augment(rotate=0.4, scale=0.3, shift=0.1, elastic=2.0, flip=["h", "w"], bias=0.2, gamma=0.3, enhance=0.2)
    out = moving(plain, size=(6, 32, 32))
    assert out.image.shape == (3, 2, 6, 32, 32)
    for z in (0, 4):
        one = moving(replace(plain, image=plain.image[:, :, z], target=plain.target[:, :, z]), size=(32, 32))
        torch.testing.assert_close(out.image[:, :, z], one.image, rtol=0, atol=1e-6)
        assert torch.equal(out.target[:, :, z], one.target)


def test_a_volume_is_mirrored_along_its_depth_with_its_target_and_cut_to_its_centre():
    plain = volumes(depth=7, count=8, channels=1, size=(9, 11))
    out = Augment(flip=["d"])(plain, size=(4, 9, 11))
    none = Augment(flip=["d"])(replace(plain, ignored=plain.target[:, :1].bool()), size=(4, 9, 11))
    for i in range(8):
        cut = plain.target[i, :, 1:5]
        mirrored = not torch.equal(out.target[i], cut)
        assert torch.equal(out.target[i], cut.flip(1) if mirrored else cut)
        image = plain.image[i, :, 1:5]
        torch.testing.assert_close(out.image[i], image.flip(1) if mirrored else image, rtol=0, atol=1e-5)
    assert torch.equal(none.ignored, out.target[:, :1].bool())
    assert 0 < sum(not torch.equal(out.target[i], plain.target[i, :, 1:5]) for i in range(8)) < 8


def test_a_volume_too_thin_is_padded_evenly_with_air():
    plain = volumes(depth=3)
    out = Augment()(plain, size=(6, 37, 45))
    torch.testing.assert_close(out.image[:, :, 1:4], plain.image, rtol=0, atol=1e-5)
    assert not out.image[:, :, [0, 4, 5]].any()


def test_channels_change_alike_or_each_by_itself_and_move_together():
    plain = batch()
    twice = replace(plain, image=plain.image.repeat(1, 3, 1, 1))
    settings = replace(STRONG, noise=0.0)
    alike = settings(twice, size=(32, 32)).image
    assert torch.equal(alike[:, 0], alike[:, 2])
    apart = replace(settings, per_channel=True)(twice, size=(32, 32)).image
    torch.testing.assert_close(apart[:, :1], settings(plain, size=(32, 32)).image, rtol=0, atol=1e-6)
    assert (apart[:, 0] - apart[:, 2]).abs().mean() > 0.01
    still = replace(settings, contrast=0.0, gamma=0.0, brightness=0.0, bias=0.0, blur=0.0, per_channel=True)
    moved = still(twice, size=(32, 32)).image
    assert torch.equal(moved[:, 0], moved[:, 2])


# Targets


def regions(classes=3, size=(64, 64), count=4):
    """Return exclusive masks of blobs that touch, so that there are many places where three classes meet."""
    coarse = torch.rand(count, classes + 1, 6, 6, generator=torch.Generator().manual_seed(1))
    winner = F.interpolate(coarse, size=size, mode="bicubic").argmax(1)
    target = torch.stack([winner == i + 1 for i in range(classes)], dim=1).to(torch.uint8)
    keys = tuple(SampleKey(0, 3, i) for i in range(count))
    return Batch(image=torch.rand(count, 1, *size), target=target, keys=keys, origins=(Origin(""),) * count)


MOVING = Augment(rotate=0.4, scale=0.3, anisotropy=0.1, shift=0.1, elastic=2.0, flip=["h", "w"])


@pytest.mark.parametrize("labels", ["linear", "nearest"])
def test_exclusive_classes_stay_exclusive(labels):
    out = replace(MOVING, labels=labels)(regions(), size=(50, 50))
    assert out.target.dtype == torch.uint8
    assert set(out.target.sum(1).unique().tolist()) == {0, 1}


def test_no_seam_opens_where_classes_meet():
    plain = regions()
    union = replace(plain, target=plain.target.amax(1, keepdim=True))
    out = MOVING(plain, size=(50, 50)).target
    assert torch.equal(out.amax(1, keepdim=True), MOVING(union, size=(50, 50)).target)


def test_a_tie_between_exclusive_classes_goes_to_one_of_them():
    target = torch.zeros(1, 2, 4, 4, dtype=torch.uint8)
    target[:, 0, :, :2], target[:, 1, :, 2:] = 1, 1
    values = torch.full((1, 2, 1, 1, 1), 0.5)
    assert decided(values, target.unsqueeze(2), torch.zeros(1, 1, 1, 2)).sum() == 1  # the centre lies between the two


def test_masks_that_overlap_keep_doing_so():
    plain = regions(classes=1)
    both = replace(plain, target=torch.cat([plain.target, plain.target, torch.ones_like(plain.target)], dim=1))
    out = MOVING(both, size=(50, 50)).target
    alone = MOVING(plain, size=(50, 50)).target
    assert torch.equal(out[:, :1], alone)
    assert torch.equal(out[:, 1:2], alone)


def test_soft_targets_stay_soft():
    plain = batch()
    soft = replace(plain, target=plain.target * 0.7)
    out = STRONG(soft, size=(32, 32)).target
    assert out.dtype == torch.float32
    assert len(out.unique()) > 100


def test_what_is_ignored_moves_with_the_target():
    plain = regions(classes=1)
    settings = replace(MOVING, labels="nearest")
    moved = settings(plain, size=(50, 50))
    out = settings(replace(plain, ignored=plain.target.bool()), size=(50, 50))
    assert torch.equal(out.ignored, moved.target.bool())
    assert not out.target.any()
    assert moved.ignored is None


# New intensities


def test_a_moved_intensity_window_saturates_what_falls_outside():
    ramp = torch.linspace(0, 1, 64).expand(4, 1, 8, 64).contiguous()
    plain = Batch(image=ramp, target=(ramp > 2).to(torch.uint8), keys=tuple(SampleKey(0, 0, i) for i in range(4)),
                  origins=(Origin(""),) * 4)  # fmt: skip
    out = Augment(window_jitter=0.2)(plain, size=(8, 64)).image
    for row in out[:, 0, 0]:
        inside = (row > 1e-4) & (row < 1 - 1e-4)
        steps = row.diff()[inside[1:] & inside[:-1]]
        assert (steps - steps[0]).abs().max() < 1e-5  # a straight line between its ends
        assert 1 / 1.4 < steps[0] * 63 < 1 / 0.6


def test_a_lower_resolution_keeps_constants_and_removes_detail():
    plain = batch(size=(36, 44))
    out = Augment(coarse=1.0, coarse_factor=3.0)(plain, size=(36, 44)).image
    assert (out.std((1, 2, 3)) < 0.95 * plain.image.std((1, 2, 3))).all()
    flat = Augment(coarse=1.0, coarse_factor=3.0)(
        replace(plain, image=torch.full_like(plain.image, 0.3)), size=(36, 44)
    )
    torch.testing.assert_close(flat.image, torch.full_like(plain.image, 0.3), rtol=0, atol=1e-5)


def test_zoom_only_enlarges():
    disc = ((torch.arange(64) - 31.5) ** 2 + (torch.arange(64)[:, None] - 31.5) ** 2 < 200).float().expand(4, 1, 64, 64)
    keys = tuple(SampleKey(0, 0, i) for i in range(4))
    plain = Batch(image=disc.contiguous(), target=disc.to(torch.uint8), keys=keys, origins=(Origin(""),) * 4)
    assert (Augment(zoom=0.5)(plain, size=(64, 64)).target.sum((1, 2, 3)) > plain.target.sum((1, 2, 3))).all()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"flip": ["z"]}, "d, h and w"),
        ({"window_jitter": 0.5}, "window_jitter < 0.5"),
        ({"coarse_factor": 0.5}, "coarse_factor ≥ 1"),
        ({"labels": "cubic"}, "linear or nearest"),
        ({"per_channel": 1}, "per_channel true or false"),
        ({"probability": {"blur": 0.5}}, "probability to name settings of rotate"),
        ({"probability": {"rotate": 1.5}}, r"in \[0,1\]"),
    ],
)
def test_a_setting_out_of_range_is_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        Augment(**setting)


@pytest.mark.parametrize("labels", ["linear", "nearest"])
def test_the_numbers_of_lesions_move_along_with_them(labels):
    """Squares of known numbers, each in a cell of its own: no pixel of a square ends up in another one's cell."""
    plain = batch(size=(60, 60))
    target, cells = torch.zeros(4, 2, 60, 60, dtype=torch.uint8), torch.zeros(4, 2, 60, 60, dtype=torch.int32)
    for number, (row, column) in enumerate([(0, 0), (0, 30), (30, 0), (30, 30)], start=1):
        cells[:, 0, row : row + 30, column : column + 30] = number
        cells[:, 1, row : row + 30, column : column + 30] = 1000 * number
        target[..., row + 9 : row + 21, column + 9 : column + 21] = 1
    shades = cells.float() / 4000
    plain = replace(plain, image=shades[:, 1:], target=target, cells=cells)
    moved = replace(STRONG, labels=labels, contrast=0, gamma=0, brightness=0, bias=0, blur=0, noise=0)(
        plain, size=(50, 50)
    )
    assert moved.cells.shape == moved.target.shape
    assert moved.cells.dtype == torch.int32
    assert set(moved.cells[:, 0].unique().tolist()) == {0, 1, 2, 3, 4}  # 0 beyond the image
    assert (moved.cells[:, 1] == 1000 * moved.cells[:, 0]).all()
    inside = moved.target[:, 0] == 1
    torch.testing.assert_close(moved.image[:, 0][inside] * 4, moved.cells[:, 0][inside].float(), rtol=0, atol=1e-4)
    same = replace(plain, cells=None)
    assert STRONG(plain, size=(32, 32)).image.equal(STRONG(same, size=(32, 32)).image)
