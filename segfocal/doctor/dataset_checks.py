"""Checks that compare the cases of a data set with each other."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from segfocal.doctor.case_report import CaseReport
from segfocal.doctor.checks import Check, Finding, Found
from segfocal.doctor.image_checks import AIR_HU
from segfocal.io.png import is_png

_SPACING, _SCALE = 3.0, 10.0  # times the median case
_FEW = 4  # cases; of fewer there is no usual one


def dataset_findings(cases: Sequence[CaseReport], *, names: Mapping[str, int], modality: str) -> list[Finding]:
    """Return what comparing the cases shows, and what depends on the kind of scanner.

    Args:
        cases: the reports.
        names: label values by structure name.
        modality: "ct", "other", or "" to take the scans for CT where most images hold air.
    """
    read = [case for case in cases if case.grid is not None]
    scanned = [case for case in read if not is_png(case.case.image)]
    return [
        *_alike(read),
        *_never_found(cases, names),
        *_orientations(scanned),
        *_spacings(scanned),
        *_scales(scanned, modality or _usual(scanned)),
    ]


def _usual(cases: Sequence[CaseReport]) -> str:
    with_air = [case.scale is not None and case.scale.low <= AIR_HU and case.scale.integers_only for case in cases]
    return "ct" if sum(with_air) > len(cases) / 2 else ""


def _alike(cases: Sequence[CaseReport]) -> Iterator[Finding]:
    """Yield voxels that occur in more than one case."""
    for group in _groups(cases, lambda case: case.image_hash):
        splits = {case.case.split for case in group}
        others = ", ".join(f"{case.case.name} ({case.case.split or 'no split'})" for case in group[:5])
        check = Check.LEAK if len(splits) > 1 else Check.DUPLICATE
        yield Finding(check=check, found=f"the same in {others}", case=group[0].case.name, file=group[0].case.image)
    for group in _groups(cases, lambda case: case.label_hash):
        if len({case.image_hash for case in group}) > 1:
            others = ", ".join(case.case.name for case in group[:5])
            first = group[0].case
            yield Finding(check=Check.SAME_LABEL, found=f"the same of {others}", case=first.name, file=first.label)


def _groups(cases: Sequence[CaseReport], key: Callable[[CaseReport], str]) -> list[list[CaseReport]]:
    groups = defaultdict(list)
    for case in cases:
        if key(case):
            groups[key(case)].append(case)
    return [group for group in groups.values() if len(group) > 1]


def _never_found(cases: Sequence[CaseReport], names: Mapping[str, int]) -> Iterator[Finding]:
    found = {value for case in cases for value in case.voxels}
    missing = [f"{name} ({value})" for name, value in names.items() if value not in found]
    if missing and found:
        more = f" and {len(missing) - 8} more" if len(missing) > 8 else ""
        yield Finding(check=Check.NEVER_FOUND, found=", ".join(missing[:8]) + more)


def _orientations(cases: Sequence[CaseReport]) -> Iterator[Finding]:
    frames = Counter(case.grid.frame for case in cases if case.grid)
    usual = max(frames, key=lambda frame: frames[frame], default="")
    for case in cases:
        if case.grid and case.grid.frame != usual:
            found = f"{case.grid.frame}; {frames[usual]} of {len(cases)} are {usual}"
            yield Finding(check=Check.MIXED_ORIENTATIONS, found=found, case=case.case.name, file=case.case.image)


def _spacings(cases: Sequence[CaseReport]) -> Iterator[Finding]:
    if len(cases) < _FEW:
        return
    spacings = np.array([case.grid.oriented(case.grid.orientation_to("SPL")).spacing_mm for case in cases if case.grid])
    ratio = spacings / np.median(spacings, axis=0)
    for case, spacing, off in zip(cases, spacings, ratio, strict=True):
        if (off > _SPACING).any() or (off < 1 / _SPACING).any():
            found = " × ".join(f"{value:.3g}" for value in spacing) + " mm"
            usual = " × ".join(f"{value:.3g}" for value in np.median(spacings, axis=0)) + " mm"
            yield Finding(
                check=Check.ODD_SPACING, found=f"{found}, median {usual}", case=case.case.name, file=case.case.image
            )


def _scales(cases: Sequence[CaseReport], modality: str) -> Iterator[Finding]:
    spreads = [case.scale.spread for case in cases if case.scale]
    usual = float(np.median(spreads)) if len(spreads) >= _FEW else 0.0
    for case in cases:
        for check, found in _scale(case, modality, usual):
            yield Finding(check=check, found=found, case=case.case.name, file=case.case.image)


def _scale(case: CaseReport, modality: str, usual: float) -> Iterator[Found]:
    scale = case.scale
    if scale is None or scale.low == scale.high:
        return
    values = f"values from {scale.low:.5g} to {scale.high:.5g}"
    if scale.normalised:
        yield Check.NORMALISED, f"{values}, mean {scale.mean:.2g}"
    elif modality != "other" and scale.air_at_zero:
        yield Check.NO_HOUNSFIELD, f"{values}: air at 0, so rescale intercept is missing"
    elif modality == "ct" and scale.low > AIR_HU:
        yield Check.NO_HOUNSFIELD, f"{values}: no air below {AIR_HU:.0f}"
    elif usual > 0 and not 1 / _SCALE <= scale.spread / usual <= _SCALE:
        yield Check.ODD_INTENSITY, f"a range of {scale.spread:.4g}, median {usual:.4g}"
