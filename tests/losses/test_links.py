"""From masks and one logit a structure to classes, and back to margins."""

import pytest
import torch

from segfocal.losses.links import class_indices, margins, with_background


def test_where_a_pixel_is_in_several_masks_the_last_one_counts():
    several = torch.tensor([[[1, 1, 0, 0], [1, 0, 1, 0]]])
    assert class_indices(several).tolist() == [[2, 1, 2, 0]]
    assert class_indices(torch.tensor([[[0.5, 0.49, 0.0, 1.0]]])).tolist() == [[1, 0, 0, 1]]
    torch.testing.assert_close(
        with_background(torch.ones(1, 2, 3)), torch.tensor([[[0.0] * 3, [1.0] * 3, [1.0] * 3]]), rtol=0, atol=0
    )


@pytest.mark.parametrize("count", [1, 3, 255, 256, 300])
def test_any_number_of_masks_become_as_many_class_indices(count):
    each_alone = torch.eye(count, dtype=torch.bool).unsqueeze(0)
    assert class_indices(each_alone).flatten().tolist() == list(range(1, count + 1))


def test_a_margin_is_the_logit_against_all_other_classes():
    logits = torch.tensor([[3.0, -1.0, 0.5], [40.0, 39.0, -40.0]], dtype=torch.float64)[..., None]
    first, second, third = logits[:, 0], logits[:, 1], logits[:, 2]
    rest = torch.stack([torch.zeros_like(first), second, third]).logsumexp(0)
    torch.testing.assert_close(margins(logits)[:, 0], first - rest)
    assert margins(logits[:, :1] * 1000).isfinite().all()
    torch.testing.assert_close(margins(logits[:1, :1]), logits[:1, :1])  # one structure: its own logit
