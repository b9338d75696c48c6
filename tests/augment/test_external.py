"""Transforms of other libraries in the place of our augmentation."""

import random
from dataclasses import replace

import numpy as np
import pytest
import torch

from segfocal.augment import EachSample
from segfocal.batch import Batch, Origin, SampleKey
from segfocal.errors import UserError


def batch(indices=range(4), size=(37, 45), depth=()):
    generator = torch.Generator().manual_seed(3)
    image = torch.rand(8, 1, *depth, *size, generator=generator)[list(indices)]
    target = (torch.rand(8, 2, *depth, *size, generator=generator) < 0.3).to(torch.uint8)[list(indices)]
    keys = tuple(SampleKey(0, 7, i) for i in indices)
    return Batch(image=image, target=target, keys=keys, origins=tuple(Origin(str(i)) for i in indices))


def monai_strong():
    transforms = pytest.importorskip("monai.transforms")
    keys = ["image", "label"]
    return transforms.Compose(
        [
            transforms.RandAffined(keys, prob=1.0, rotate_range=0.4, mode=["bilinear", "nearest"]),
            transforms.RandFlipd(keys, prob=0.5, spatial_axis=1),
            transforms.RandGaussianNoised("image", prob=1.0, std=0.05),
        ]
    )


def by_global_generators(sample):
    """Draw from every global generator, as transforms of some libraries do."""
    offset = 0.1 * float(torch.rand(())) + 0.1 * np.random.rand() + 0.1 * random.random()
    return {"image": sample["image"] + offset, "label": sample["label"]}


@pytest.mark.parametrize("transform", [monai_strong, lambda: by_global_generators], ids=["monai", "global generators"])
def test_a_sample_is_a_function_of_its_key_whatever_came_before(transform):
    augment = EachSample(transform=transform())
    together = augment(batch(), size=(32, 30))
    for index in (3, 1):
        alone = augment(batch([index]), size=(32, 30))
        assert torch.equal(alone.image[0], together.image[index])
        assert torch.equal(alone.target[0], together.target[index])
    assert not torch.equal(together.image[0] - batch().image[0, :, 2:34, 7:37], together.image[1])
    assert together.image.shape == (4, 1, 32, 30)
    assert type(together.image) is torch.Tensor
    assert 0 <= together.image.min() <= together.image.max() <= 1
    assert together.target.dtype == torch.uint8
    assert set(together.target.unique().tolist()) == {0, 1}


def test_the_global_generators_are_left_as_they_were():
    torch.manual_seed(1)
    np.random.seed(1)
    random.seed(1)
    expected = float(torch.rand(())), np.random.rand(), random.random()
    torch.manual_seed(1)
    np.random.seed(1)
    random.seed(1)
    EachSample(transform=by_global_generators)(batch(), size=(32, 30))
    assert (float(torch.rand(())), np.random.rand(), random.random()) == expected


def test_a_transform_that_changes_nothing_leaves_the_centre_and_the_batch():
    plain = batch(depth=(5,))
    kept = plain.image.clone()
    out = EachSample(transform=lambda sample: {"image": sample["image"].mul_(1), "label": sample["label"].numpy()})(
        plain, size=(3, 20, 50)
    )
    assert torch.equal(out.image[..., 2:47], plain.image[:, :, 1:4, 8:28])
    assert torch.equal(out.target[..., 2:47], plain.target[:, :, 1:4, 8:28])
    assert not out.image[..., :2].any()
    assert torch.equal(plain.image, kept)


def test_what_is_ignored_moves_along_and_is_no_target():
    plain = batch()
    flip = EachSample(transform=lambda sample: {name: part.flip(-1) for name, part in sample.items()})
    out = flip(replace(plain, ignored=plain.target[:, :1].bool()), size=(37, 45))
    assert torch.equal(out.ignored, plain.target[:, :1].bool().flip(-1))
    assert not (out.ignored & out.target.bool()).any()


@pytest.mark.parametrize(
    ("transform", "found"),
    [
        (lambda sample: {"image": sample["image"]}, "label with 2 channels and 2 axes; found NoneType"),
        (lambda sample: sample["image"], "image with 1 channels and 2 axes; found NoneType"),
        (lambda sample: {**sample, "label": sample["label"][:1]}, r"found shape \[1, 37, 45\]"),
    ],
)
def test_a_transform_that_loses_a_part_is_refused(transform, found):
    with pytest.raises(UserError, match=found):
        EachSample(transform=transform)(batch(), size=(32, 32))


def test_a_transform_that_cannot_be_called_is_refused():
    with pytest.raises(ValueError, match="_target_"):
        EachSample(transform={"keys": ["image"]})
