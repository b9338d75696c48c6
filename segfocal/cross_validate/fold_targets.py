"""Whether every fold has something to learn from: each structure in one of its training cases at least."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from segfocal.data.case import Case
from segfocal.data.label_counts import foreground_shares
from segfocal.errors import UserError
from segfocal.structure import Structure


def check_fold_targets(
    folds: Sequence[Sequence[Case]], structures: Sequence[Structure], *, cache: Path, where: Path
) -> None:
    """Raise UserError for a fold none of whose training cases holds a structure.

    Args:
        folds: the training cases of each.
        structures: to learn.
        cache: where the voxels of labels are counted, once a file.
        where: the data, for the message.
    """
    cases = list({case.name: case for fold in folds for case in fold}.values())
    for structure in structures:
        shares = foreground_shares(cases, [structure], cache)
        holding = {case.name for case, share in zip(cases, shares, strict=True) if share > 0}
        for number, fold in enumerate(folds):
            if not any(case.name in holding for case in fold):
                held = f" ({', '.join(sorted(holding)[:3])}), none of which trains fold {number}" if holding else ""
                raise UserError(
                    expected=f"{structure.name} in the training cases of every fold",
                    found=f"it in {len(holding)} of {len(cases)} cases{held}",
                    where=where,
                    do="add cases with it, deal the folds by hand (data.splits), or train without folds",
                )
