"""What a term answers about itself, whoever wrote it."""

import pytest
import torch

from segfocal.losses import DiceLoss, FocalLoss, WeightedSum
from segfocal.losses.base import OtherTerm, Term, as_term
from tests.losses.pairs import CLOSE, masks


def test_a_subclass_with_a_forward_of_its_own_is_called_by_it():
    class Thousandfold(FocalLoss):
        def forward(self, logits, target):
            return 1000 * super().forward(logits, target)

    x, t = masks(2, 1, 4, 4)
    plain, own = (WeightedSum({"f": kind()}, {"f": 1.0})(x, t).total for kind in (FocalLoss, Thousandfold))
    torch.testing.assert_close(own, 1000 * plain)


def test_a_subclass_that_only_changes_the_formula_keeps_the_one_pass():
    class Doubled(DiceLoss):
        def cost(self, sums):
            return 2 * super().cost(sums)

    x, t = masks(2, 1, 4, 4)
    assert Doubled().takes_sums
    torch.testing.assert_close(WeightedSum({"d": Doubled()}, {"d": 1.0})(x, t).total, 2 * DiceLoss()(x, t), **CLOSE)


def test_any_module_of_logits_and_target_can_be_a_term():
    x, t = masks(2, 1, 4, 4)
    plain = torch.nn.BCEWithLogitsLoss(pos_weight=torch.tensor(3.0, dtype=torch.float64))
    criterion = WeightedSum({"theirs": plain, "focal": FocalLoss()}, {"theirs": 2.0, "focal": 1.0}, anatomy=True)
    criterion.use_rates([0.9, 0.1])  # not of interest to it
    criterion.check_values(True)
    report = criterion(x, t.double())
    torch.testing.assert_close(report.terms["theirs"], plain(x, t.double()), **CLOSE)
    torch.testing.assert_close(report.total, 2 * report.terms["theirs"] + report.terms["focal"], **CLOSE)
    assert criterion.anatomy_names == [
        "positive_pixels",
        "focal_modulating",
        "focal_hard_share",
        "focal_positive_share",
    ]
    assert list(criterion.state_dict()) == ["terms.theirs.pos_weight"]  # the name it has in checkpoints


def test_a_module_s_own_attributes_say_what_kind_of_loss_it_is():
    other = torch.nn.L1Loss(reduction="none")
    with pytest.raises(ValueError, match="reduction none"):
        WeightedSum({"theirs": other}, {"theirs": 1.0})
    other.link, other.uses_predicted_iou, other.soft_batch = "softmax", True, True
    found = as_term(other)
    assert isinstance(found, OtherTerm)
    assert (found.link, found.reduction, found.uses_predicted_iou, found.takes_sums) == ("softmax", "none", True, False)
    assert found.soft_batch
    assert as_term(FocalLoss()).link == "sigmoid"


def test_a_term_made_from_nothing_needs_only_a_forward():
    class Distance(Term):
        def forward(self, logits, target):
            return (logits.sigmoid() - target.to(logits.dtype)).abs().mean()

    x, t = masks(2, 1, 4, 4)
    criterion = WeightedSum({"distance": Distance(), "dice": DiceLoss()}, {"distance": 1.0, "dice": 0.0}, anatomy=True)
    report = criterion(x, t)
    torch.testing.assert_close(report.total, (x.sigmoid() - t.double()).abs().mean(), **CLOSE)
    assert list(report.anatomy) == criterion.anatomy_names == ["positive_pixels"]
    with pytest.raises(NotImplementedError, match="made of pixel sums; got Distance"):
        Distance().from_sums(None, 1)
