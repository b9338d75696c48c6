"""The walk of a cross-validation: train each fold, choose out of fold, predict out of fold, judge, keep together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from segfocal.cross_validate.operating_point import ThresholdChoice, choose_thresholds
from segfocal.cross_validate.results import (
    Outcome,
    OutOfFold,
    card_results,
    mean_dice,
    predict_and_judge,
    write_summary,
)
from segfocal.data.case import Case
from segfocal.engine.plan import Plan
from segfocal.engine.postprocess_choice import choose_rules_of
from segfocal.errors import UserError
from segfocal.inference import bundle as bundles
from segfocal.inference import ensemble
from segfocal.inference.bundle import Bundle
from segfocal.inference.model_card import write_card
from segfocal.models import SegmentationModel

BUNDLE = "bundle"


@dataclass(frozen=True, kw_only=True)
class CrossValidation:
    """What to do.

    Args:
        folds: how many, ≥ 1.
        plan: makes the training run of a fold.
        train: trains a plan in a folder, or goes on there.
        folder: for everything: fold_0 …, predictions, evaluation, summary.json, bundle.
        device: to segment on.
        threshold: whether the threshold of each structure is chosen out of fold; False: 0.5.
        postprocess: whether rules for components and holes are; False: none.
    """

    folds: int
    plan: Callable[[int], Plan]
    train: Callable[[Plan, Path], Any]
    folder: Path
    device: torch.device
    threshold: bool = True
    postprocess: bool = True


@dataclass(frozen=True, kw_only=True)
class Member:
    """A trained fold: its number, its bundle, and the cases that it never saw."""

    fold: int
    bundle: Bundle
    cases: Sequence[Case]


def cross_validate(asked: CrossValidation) -> Outcome:
    """Train, choose, predict, judge and keep the models as one ensemble; what is there already is gone on with.

    Raises:
        UserError: models that need prompts, structures that may overlap, and whatever training raises.
    """
    members, ignored = [], None
    for fold in range(asked.folds):
        plan = asked.plan(fold)
        check_judged_alone(plan)
        place = asked.folder / f"fold_{fold}"
        asked.train(plan, place)
        members.append(Member(fold=fold, bundle=bundles.load(place / "bundle"), cases=plan.cases.of("val")))
        ignored = plan.cases.ignored
    members, facts = chosen_out_of_fold(
        members, device=asked.device, threshold=asked.threshold, postprocess=asked.postprocess
    )
    bundle = asked.folder / BUNDLE
    ensemble.save([member.bundle for member in members], bundle, facts={"chosen_out_of_fold": facts})
    cases = [
        OutOfFold(case=case, bundle=bundle / f"member_{number}", fold=member.fold)
        for number, member in enumerate(members)
        for case in member.cases
    ]
    judged = predict_and_judge(cases, members[0].bundle, asked.folder, ignored=ignored)
    outcome = Outcome(judged=judged, dice=mean_dice(judged), facts={"folds": asked.folds, **facts})
    write_summary(asked.folder, outcome)
    if judged:
        names = [path.name for path in ensemble.members_of(bundle)]
        write_card(bundle, members=names, results=card_results(judged, asked.folder, chosen_on=bool(facts)))
    return outcome


def check_judged_alone(plan: Plan) -> None:
    """Raise UserError unless a model answers whole scans by itself with one label map."""
    if plan.task.needs_prompts:
        raise UserError(
            expected="a model that answers without a prompt",
            found="a task that trains with prompts only",
            do="use task=promptable or task=semantic, or judge prompts with evaluate-prompts",
        )
    if plan.preparation.structures[0].overlaps:
        raise UserError(
            expected="structures that share no voxel",
            found="data.overlap=true",
            do="cross-validate one structure at a time: target=NAME",
        )


def chosen_out_of_fold(
    members: Sequence[Member], *, device: torch.device, threshold: bool, postprocess: bool
) -> tuple[list[Member], dict[str, Any]]:
    """Return the members with thresholds and rules chosen on the cases they never saw, and what was chosen and why.

    Args:
        members: the folds; without any case held out nothing is chosen.
        device: to segment on.
        threshold: whether thresholds are chosen.
        postprocess: whether rules are.
    """
    if not any(member.cases for member in members):
        return list(members), {}
    facts: dict[str, Any] = {}
    changed = list(members)
    if threshold:
        choices = choose_thresholds([(member.bundle, member.cases) for member in changed], device=device)
        if all(_moved(member.bundle, choices) for member in changed):
            facts["thresholds"] = [choice.row() for choice in choices]
    if postprocess:
        rules, tried = choose_rules_of([(member.bundle, member.cases) for member in changed], device=device)
        changed = [replace(member, bundle=replace(member.bundle, postprocess=rules)) for member in changed]
        facts["postprocess"] = tried
    return changed, facts


def _moved(bundle: Bundle, choices: Sequence[ThresholdChoice]) -> bool:
    """Make the chosen thresholds 0.5 of a bundle's model; return False where that model cannot."""
    model = bundle.model
    cuts = torch.tensor([choice.logit for choice in choices], dtype=torch.float32)
    return isinstance(model, SegmentationModel) and model.move_logits(-cuts.to(next(model.parameters()).device))
