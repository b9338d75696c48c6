"""Which cases train, validate and test: drawn once, written to a file that people can read, and read from then on.

    {"folds": [{"train": ["a", "b"], "val": ["c"]}, …], "test": ["d"], "drawn": {…}}

nnU-Net's splits_final.json, the list alone, is read too. Cases of one group (a patient) are never on both sides.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from segfocal.data.case import Case, CaseList
from segfocal.errors import UserError
from segfocal.files import write_json
from segfocal.foreign import door
from segfocal.io.file_names import composed

ForegroundShares = Callable[[Sequence[Case]], Sequence[float]]  # the share of foreground voxels of each case


@dataclass(frozen=True, kw_only=True)
class Splitting:
    """How cases are drawn.

    Args:
        folds: parts, ≥ 2, each of which validates once; None holds out a share once.
        hold_out: the share of the cases, in [0,1), that validates where `folds` is None.
        seed: of the draw.
        stratify: parts have about the same share of foreground.

    Raises:
        ValueError: a number out of range.
    """

    folds: int | None = None
    hold_out: float = 0.2
    seed: int = 0
    stratify: bool = False

    def __post_init__(self) -> None:
        if self.folds is not None and (type(self.folds) is not int or self.folds < 2):
            raise ValueError(f"expected data.folds to be a whole number ≥ 2 or null; got {self.folds!r}")
        if not 0 <= self.hold_out < 1:
            raise ValueError(f"expected data.hold_out in [0,1); got {self.hold_out}")


def grouped(cases: CaseList, pattern: str | None) -> CaseList:
    """Return the cases in groups: what the brackets of a regular expression find in each name.

    pattern: the regular expression; None keeps the groups that the data set names.

    Raises:
        UserError: not a regular expression with one pair of brackets, or a name that it does not fit.
    """
    if pattern is None:
        return cases
    try:
        expression = re.compile(pattern)
    except re.error as error:
        found = f"data.group={pattern}: {error}"
        raise UserError(expected="a regular expression", found=found, do="mend it") from error
    if expression.groups != 1:
        raise UserError(
            expected="a regular expression with one pair of brackets around the patient, as '(.*)_scan.*'",
            found=f"data.group={pattern}",
            do="mend it",
        )
    fits = {case.name: expression.fullmatch(case.name) for case in cases.cases}
    unlike = next((name for name, match in fits.items() if match is None or match[1] is None), None)
    if unlike is not None:
        raise UserError(
            expected=f"case names that fit data.group={pattern} as a whole", found=unlike, do="mend the expression"
        )
    named = tuple(replace(case, group=str(fits[case.name][1])) for case in cases.cases)  # type: ignore[index]
    return replace(cases, cases=named)


def hold_out(cases: CaseList, *, share: float, seed: int, foreground: Sequence[float] | None = None) -> CaseList:
    """Return the list with every case in a split: given ones stay, the others train, or validate if drawn.

    Where some case is given as val, none is drawn. One case always remains to train on.

    Args:
        cases: the list.
        share: of the cases without a split, in [0,1), that validates.
        seed: of the draw, which depends on names and groups besides, not on the order of cases.
        foreground: the share of foreground voxels of each case; those held out are spread evenly over it. None draws at
            random.

    Raises:
        ValueError: share outside [0,1).
    """
    Splitting(hold_out=share)
    open_cases = [case for case in cases.cases if not case.split]
    names = sorted(case.name for case in open_cases)
    drawing = share > 0 and len(names) > 1 and not cases.of("val")
    count = min(len(names) - 1, max(1, round(share * len(names)))) if drawing else 0
    if count and (foreground is not None or any(case.group for case in open_cases)):
        own = None if foreground is None else [s for s, c in zip(foreground, cases.cases, strict=True) if not c.split]
        held = set(_held_groups(open_cases, count, seed=seed, foreground=own))
    else:
        held = set(np.random.default_rng(seed).permutation(names)[:count].tolist())
    split = tuple(replace(c, split=c.split or ("val" if c.name in held else "train")) for c in cases.cases)
    return replace(cases, cases=split)


def _held_groups(cases: Sequence[Case], count: int, *, seed: int, foreground: Sequence[float] | None) -> list[str]:
    """Return the names of whole groups with about `count` cases, evenly spaced in the order of their foreground.

    None where all cases are of one group.
    """
    rng = np.random.default_rng(seed)
    units, order = _ordered(cases, rng, foreground)
    many = min(max(1, round(len(order) * count / len(cases))), len(order) - 1)
    places = (rng.random() + np.arange(many)) * len(order) / max(many, 1)
    return [cases[index].name for place in places for index in units[order[int(place)]]]


def _ordered(
    cases: Sequence[Case], rng: np.random.Generator, foreground: Sequence[float] | None
) -> tuple[dict[str, list[int]], list[str]]:
    """Return the indices of the cases of each group, and the groups in random order or by their mean share."""
    units: dict[str, list[int]] = {}
    for index in sorted(range(len(cases)), key=lambda index: cases[index].name):
        units.setdefault(_unit(cases[index]), []).append(index)
    order = [sorted(units)[index] for index in rng.permutation(len(units))]
    if foreground is not None:
        order.sort(key=lambda unit: float(np.mean([foreground[index] for index in units[unit]])))
    return units, order


def deal(cases: Sequence[Case], folds: int, *, seed: int, foreground: Sequence[float] | None = None) -> list[list[str]]:
    """Return the names of each fold: every case in one, groups whole, folds of about one size.

    Args:
        cases: the cases.
        folds: how many.
        seed: of the draw, which depends on names and groups besides, not on the order of cases.
        foreground: the share of foreground voxels of each case. Groups are ranked by it, and of as many neighbours as
            there are folds each fold gets one. None deals at random.

    Raises:
        ValueError: fewer groups than folds.
    """
    rng = np.random.default_rng(seed)
    units, order = _ordered(cases, rng, foreground)
    if len(units) < folds:
        raise ValueError(f"expected at least {folds} cases or groups of cases for data.folds={folds}; got {len(units)}")
    dealt: list[list[str]] = [[] for _ in range(folds)]
    for start in range(0, len(order), folds):
        block = order[start : start + folds]
        block = [block[index] for index in rng.permutation(len(block))]
        left = set(range(folds))
        for unit in sorted(block, key=lambda unit: -len(units[unit])):
            fold = min(left, key=lambda fold: (len(dealt[fold]), fold))
            left.remove(fold)
            dealt[fold] += [cases[index].name for index in units[unit]]
    return [sorted(names) for names in dealt]


def _unit(case: Case) -> str:
    return f"group {case.group}" if case.group else f"case {case.name}"


def split(
    cases: CaseList, splitting: Splitting, *, fold: int, file: Path | None, foreground: ForegroundShares
) -> CaseList:
    """Return the list with every case in a split, as a file says; where there is none it is drawn and written.

    Cases given as test stay so; of others the file counts.

    Args:
        cases: the list.
        splitting: how to draw where there is no file yet.
        fold: which fold validates, from 0.
        file: of the splits; None draws without writing.
        foreground: returns the share of foreground of each case; called only where `stratify` needs it.

    Raises:
        UserError: a damaged file, one of other cases or of another number of folds, no such fold, a group on two sides.
    """
    where = file if file is not None and file.exists() else None
    chosen = _split(cases, splitting, fold=fold, file=file, foreground=foreground)
    _check_groups(chosen, where)
    return chosen


def _check_groups(cases: CaseList, where: Path | None) -> None:
    """Raise UserError where cases of one group, a patient, are in two parts."""
    first: dict[str, Case] = {}
    for case in cases.cases:
        first.setdefault(case.group, case)
    parted = [(first[case.group], case) for case in cases.cases if case.group and first[case.group].split != case.split]
    if parted:
        other, case = parted[0]
        count = len({one.group for one, _ in parted})
        raise UserError(
            expected="all cases of a group (a patient) in one part",
            found=f"{other.name} in {other.split} and {case.name} in {case.split}, both of {case.group}"
            + f", and {count - 1} more groups so" * (count > 1),
            where=where,
            do="mend the split, or set data.group so that it names what must not be parted",
        )


def _split(
    cases: CaseList, splitting: Splitting, *, fold: int, file: Path | None, foreground: ForegroundShares
) -> CaseList:
    """Return the list with every case in a split, groups as they come."""
    if file is None or not file.exists():
        if splitting.folds is None:
            own = foreground(cases.cases) if splitting.stratify else None
            held = hold_out(cases, share=splitting.hold_out, seed=splitting.seed, foreground=own)
            folds = [{part: [case.name for case in held.of(part)] for part in ("train", "val")}]
        else:
            folds = _folds(cases, splitting, foreground)
        if file is None:
            return _with_parts(cases, folds, fold, where="data.fold")
        tests = [case.name for case in cases.of("test")]
        write_json(file, {"folds": folds, "test": tests, "drawn": asdict(splitting)})
    folds = read_folds(file)
    if splitting.folds not in (None, len(folds)):
        raise UserError(
            expected=f"{splitting.folds} folds",
            found=f"{len(folds)}",
            where=file,
            do="set data.folds to that, or data.splits to another file",
        )
    return _with_parts(cases, folds, fold, where=file)


def read_folds(file: Path) -> list[dict[str, list[str]]]:
    """Read the names that train and validate in each fold; UserError for a damaged file."""
    content: Any = door.read_json(file, door.Limits())
    folds = content.get("folds") if isinstance(content, dict) else content
    if isinstance(folds, list) and folds and all(_is_fold(fold) for fold in folds):
        return folds
    raise UserError(
        expected='folds as [{"train": [names], "val": [names]}, …], alone or under "folds"',
        found=door.shown(content),
        where=file,
        do="mend the file, or set data.splits to another",
    )


def _is_fold(value: object) -> bool:
    parts = [value.get(part) for part in ("train", "val")] if isinstance(value, dict) else [None]
    return all(isinstance(names, list) and all(isinstance(name, str) for name in names) for names in parts)


def _folds(cases: CaseList, splitting: Splitting, foreground: ForegroundShares) -> list[dict[str, list[str]]]:
    assert splitting.folds is not None
    chosen = [case for case in cases.cases if case.split != "test"]
    own = foreground(chosen) if splitting.stratify else None
    dealt = deal(chosen, splitting.folds, seed=splitting.seed, foreground=own)
    return [
        {"train": sorted(name for other in dealt if other is not held for name in other), "val": held} for held in dealt
    ]


def _with_parts(cases: CaseList, folds: Sequence[Mapping[str, Sequence[str]]], fold: int, *, where: object) -> CaseList:
    if type(fold) is not int or not 0 <= fold < len(folds):
        raise UserError(
            expected=f"data.fold from 0 to {len(folds) - 1}",
            found=str(fold),
            where=str(where),
            do="choose one of these",
        )
    own = {composed(case.name): case.name for case in cases.cases}
    parted = {part: [own.get(composed(name), name) for name in folds[fold][part]] for part in ("train", "val")}
    given = {case.name for case in cases.of("test")}
    parts = {name: part for part, named in parted.items() for name in named}
    names = {case.name for case in cases.cases}
    twice = sorted(set(parted["train"]) & set(parted["val"]))
    gone, unknown, tests = sorted(set(parts) - names), sorted(names - given - set(parts)), sorted(given & set(parts))
    problems = {
        f"{_some(twice[:1])} in both train and val": twice,
        f"{_some(gone)} that the data does not have": gone,
        f"no part for {_some(unknown)}": unknown,
        f"{_some(tests)}, which the data gives as test": tests,
    }
    problem = next((text for text, names in problems.items() if names), None)
    if problem:
        raise UserError(
            expected=f"each case of the data once in fold {fold}, in train or val",
            found=problem,
            where=str(where),
            do="mend the file, or take it away (or set data.splits to a new one) to draw anew",
        )
    return replace(cases, cases=tuple(replace(case, split=parts.get(case.name, "test")) for case in cases.cases))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
