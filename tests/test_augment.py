"""Augmentation of whole batches."""

import pytest
import torch

from segfocal.augment import Augment
from segfocal.batch import Batch, SampleKey

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
    return Batch(image=image, target=target, keys=keys, sources=tuple(map(str, indices)))


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
        Batch(image=disc, target=disc.to(torch.uint8), keys=(SampleKey(0, 0, 0),), sources=("",)), size=(64, 64)
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


def test_an_unknown_axis_is_refused():
    with pytest.raises(ValueError, match="h and w"):
        Augment(flip=["z"])
