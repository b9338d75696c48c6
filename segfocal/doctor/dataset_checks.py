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
_HOUNSFIELD = ("CT", "")  # modalities, as DICOM names them, of scans that may be in Hounsfield units
_FEW = 4  # cases; of fewer there is no usual one


def dataset_findings(reports: Sequence[CaseReport], *, names: Mapping[str, int], modality: str) -> list[Finding]:
    """Return what comparing the cases shows, and what depends on the kind of scanner.

    Args:
        reports: of all cases.
        names: label values by structure name.
        modality: "ct", "other", or "" to take the scans for CT where most images hold air.
    """
    read = [report for report in reports if report.grid is not None]
    scanned = [report for report in read if not is_png(report.case.image)]
    return [
        *_alike(read),
        *_never_found(reports, names),
        *_orientations(scanned),
        *_spacings(scanned),
        *_scales(scanned, modality or _usual(scanned)),
    ]


def _usual(reports: Sequence[CaseReport]) -> str:
    """Return "ct" where most images hold whole numbers and air, "" otherwise."""
    reports = [report for report in reports if report.modality in _HOUNSFIELD]
    scales = [report.scale for report in reports if report.scale is not None]
    with_air = sum(scale.low <= AIR_HU and scale.integers_only for scale in scales)
    return "ct" if with_air > len(reports) / 2 else ""


def _alike(reports: Sequence[CaseReport]) -> Iterator[Finding]:
    """Yield voxels that occur in more than one case."""
    for group in _groups(reports, lambda report: report.image_hash):
        splits = {report.case.split for report in group}
        others = ", ".join(f"{report.case.name} ({report.case.split or 'no split'})" for report in group[:5])
        check = Check.LEAK if len(splits) > 1 else Check.DUPLICATE
        yield Finding(check=check, found=f"the same in {others}", case=group[0].case.name, file=group[0].case.image)
    for group in _groups(reports, lambda report: report.label_hash):
        if len({report.image_hash for report in group}) > 1:
            others = ", ".join(report.case.name for report in group[:5])
            first = group[0].case
            yield Finding(check=Check.SAME_LABEL, found=f"the same of {others}", case=first.name, file=first.label)


def _groups(reports: Sequence[CaseReport], key: Callable[[CaseReport], str]) -> list[list[CaseReport]]:
    groups = defaultdict(list)
    for report in reports:
        if key(report):
            groups[key(report)].append(report)
    return [group for group in groups.values() if len(group) > 1]


def _never_found(reports: Sequence[CaseReport], names: Mapping[str, int]) -> Iterator[Finding]:
    found = {value for report in reports for value in report.voxels}
    missing = [f"{name} ({value})" for name, value in names.items() if value not in found]
    if missing and found:
        more = f" and {len(missing) - 8} more" if len(missing) > 8 else ""
        yield Finding(check=Check.NEVER_FOUND, found=", ".join(missing[:8]) + more)


def _orientations(reports: Sequence[CaseReport]) -> Iterator[Finding]:
    frames = Counter(report.grid.frame for report in reports if report.grid)
    usual = max(frames, key=lambda frame: frames[frame], default="")
    for report in reports:
        if report.grid and report.grid.frame != usual:
            found = f"{report.grid.frame}; {frames[usual]} of {len(reports)} are {usual}"
            yield Finding(check=Check.MIXED_ORIENTATIONS, found=found, case=report.case.name, file=report.case.image)


def _spacings(reports: Sequence[CaseReport]) -> Iterator[Finding]:
    if len(reports) < _FEW:
        return
    grids = [report.grid for report in reports if report.grid]
    spacings = np.array([grid.oriented(grid.orientation_to("SPL")).spacing_mm for grid in grids])
    ratio = spacings / np.median(spacings, axis=0)
    for report, spacing, off in zip(reports, spacings, ratio, strict=True):
        if (off > _SPACING).any() or (off < 1 / _SPACING).any():
            found = " × ".join(f"{value:.3g}" for value in spacing) + " mm"
            usual = " × ".join(f"{value:.3g}" for value in np.median(spacings, axis=0)) + " mm"
            yield Finding(
                check=Check.ODD_SPACING, found=f"{found}, median {usual}", case=report.case.name, file=report.case.image
            )


def _scales(reports: Sequence[CaseReport], modality: str) -> Iterator[Finding]:
    spreads = [report.scale.spread for report in reports if report.scale]
    usual = float(np.median(spreads)) if len(spreads) >= _FEW else 0.0
    for report in reports:
        own = modality if report.modality in _HOUNSFIELD else "other"  # a PET is no CT without its intercept
        for check, found in _scale(report, own, usual):
            yield Finding(check=check, found=found, case=report.case.name, file=report.case.image)


def _scale(report: CaseReport, modality: str, usual: float) -> Iterator[Found]:
    scale = report.scale
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
