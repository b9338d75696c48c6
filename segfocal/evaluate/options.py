"""What an evaluation is asked to do: one record of the command's options, checked before any file is read."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from segfocal.cluster.cluster_settings import HERE, ClusterSettings
from segfocal.errors import UserError
from segfocal.io.volumes import is_many
from segfocal.metrics.lesion_sizes import MEASURES, Measure

GROUPS = ("overlap", "surface", "lesions")
DEFAULT = "default"  # in a table of tolerances: the structures that it does not name


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """What to measure, the same for every case.

    Args:
        labels: label values from 1 by structure name. None takes those of the prediction's report (`predict` leaves
            it beside a mask) or, without one, every value found in the masks.
        ignore: value ≥ 1 of the reference voxels to leave out, background in both masks then; None leaves none out.
        groups: the metrics to measure, of `GROUPS`; overlap is always measured.
        tolerance_mm: distance in mm that NSD accepts, for all structures or by name with "default" for the others.
        lesion_overlap: share in [0,1) of a lesion's voxels that must be exceeded for it to be found; 0: one is enough.
        lesion_iou: IoU in [0,1) that two lesions must exceed to be matched one to one.
        lesion_edges: ascending, > 0, between the classes of size for which recall is given; empty for one class.
        lesion_size: what the edges are: "diameter_mm", of a ball of the lesion's volume, or "mm3".
        froc_floor: probability in (0,1] from which neighbouring voxels are one candidate of the FROC.

    Raises:
        UserError: a value out of range, an unknown group, a tolerance for a structure that labels do not name.
    """

    labels: Mapping[str, int] | None = None
    ignore: int | None = None
    groups: Sequence[str] = GROUPS
    tolerance_mm: float | Mapping[str, float] = 1.0
    lesion_overlap: float = 0.0
    lesion_iou: float = 0.5
    lesion_edges: Sequence[float] = (5.0, 10.0, 20.0)
    lesion_size: Measure = "diameter_mm"
    froc_floor: float = 0.1

    def __post_init__(self) -> None:
        if self.ignore is not None and (type(self.ignore) is not int or self.ignore < 1):
            raise UserError(
                expected="ignore to be a label value from 1 or null", found=str(self.ignore), do="change it"
            )
        unknown = [group for group in self.groups if group not in GROUPS]
        if unknown:
            raise UserError(
                expected=f"metrics among {', '.join(GROUPS)}", found=f"metrics={unknown}", do="choose among these"
            )
        of = self.tolerance_mm
        for name, value in of.items() if isinstance(of, Mapping) else [(DEFAULT, of)]:
            if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
                raise UserError(
                    expected="tolerances ≥ 0 mm",
                    found=f"{value} for {name}",
                    do="write tolerance_mm=2, or tolerance_mm={default: 1, liver: 3}",
                )
        for name in ("lesion_overlap", "lesion_iou"):
            _check_share(name, getattr(self, name))
        _check_sizes(self.lesion_edges, self.lesion_size)
        _check_floor(self.froc_floor)
        if self.labels is not None:
            object.__setattr__(self, "labels", named_labels(self.labels))
            if self.labels:  # an empty table names as many as none
                self.check_tolerances(self.labels)

    def check_tolerances(self, structures: Iterable[str]) -> None:
        """Raise UserError for a tolerance of a structure that is not there, naming the nearest that is."""
        known = list(dict.fromkeys(structures))
        named = self.tolerance_mm if isinstance(self.tolerance_mm, Mapping) else {}
        unknown = [str(name) for name in named if name not in {*known, DEFAULT}]
        if unknown:
            by_lower = {name.lower(): name for name in [*known, DEFAULT]}
            near = difflib.get_close_matches(unknown[0].lower(), by_lower, n=1, cutoff=0.5)
            names = f"{', '.join(known[:8])}{' …' * (len(known) > 8)} or {DEFAULT}"
            raise UserError(
                expected=f"tolerances for {names}",
                found=f"tolerance_mm for {', '.join(unknown)}",
                do=f"write {by_lower[near[0]]}" if near else "write one of these names",
            )

    def tolerance(self, structure: str) -> float:
        """Return the tolerance for a structure, in mm."""
        if isinstance(self.tolerance_mm, Mapping):
            return self.tolerance_mm.get(structure, self.tolerance_mm.get(DEFAULT, 1.0))
        return self.tolerance_mm


@dataclass(frozen=True, kw_only=True)
class MaskEvaluation:
    """Predictions to judge by references: one file each, or folders or patterns of files matched by their names.

    Args:
        prediction: a mask, a folder of masks, or a pattern such as out/*/mask.nii.gz.
        reference: the true label maps, in the same three ways.
        output: the folder for tables, pictures and the page.
        against: second predictions of the same cases, for a paired comparison.
        image: the scan or scans, for pictures; None takes the scan that the prediction's report names.
        probabilities: probability maps of the predictions (`io.nifti.probability_maps`), for areas under curves.
        settings: what to measure.
        workers: processes, a case each, ≥ 1; None starts as many as cores and memory allow.
        pictures: how many of the worst structures of many cases the page shows, ≥ 0.
        overwrite: whether results of an earlier evaluation may be replaced.
        cluster: whose workers judge many cases; by default `workers` processes of this machine do.

    Raises:
        UserError: workers or pictures out of range.
    """

    prediction: Path
    reference: Path
    output: Path
    against: Path | None = None
    image: Path | None = None
    probabilities: Path | None = None
    settings: EvaluationSettings = field(default_factory=EvaluationSettings)
    workers: int | None = None
    pictures: int = 6
    overwrite: bool = False
    cluster: ClusterSettings = HERE

    def __post_init__(self) -> None:
        workers, pictures = self.workers, self.pictures
        if not (workers is None or (_whole(workers) and workers >= 1)) or not (_whole(pictures) and pictures >= 0):
            raise UserError(
                expected="workers ≥ 1 or null, and pictures ≥ 0",
                found=f"workers={workers} pictures={pictures}",
                do="give whole numbers",
            )

    @property
    def compared(self) -> bool:
        """Whether there are second predictions."""
        return self.against is not None

    @property
    def ranked(self) -> bool:
        """Whether areas under curves are measured."""
        return self.probabilities is not None

    @property
    def many(self) -> bool:
        """Whether there may be more than one case, so that one bad file must not stop the rest."""
        return is_many(self.prediction) or is_many(self.reference)


def named_labels(labels: Any) -> dict[str, int]:
    """Return label values ≥ 1 by structure name; UserError for anything else."""
    try:
        values = {str(name): int(value) for name, value in labels.items()}
        parts = [v for v in labels.values() if isinstance(v, bool) or (isinstance(v, float) and not v.is_integer())]
        if parts or any(value < 1 for value in values.values()):
            raise ValueError(labels)
        return values
    except (AttributeError, TypeError, ValueError, OverflowError) as error:
        raise UserError(
            expected="names with label values from 1", found=f"labels={labels}", do='write "labels={liver: 5}"'
        ) from error


def _check_share(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise UserError(expected=f"{name} from 0 to below 1", found=f"{value}", do="give a share, as 0.1")


def _check_floor(value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        raise UserError(expected="froc_floor above 0 and at most 1", found=f"{value}", do="give a probability, as 0.1")


def _check_sizes(edges: Any, measure: Any) -> None:
    if measure not in MEASURES:
        raise UserError(
            expected=f"lesion_size among {', '.join(MEASURES)}", found=f"{measure}", do="choose one of these"
        )
    listed: list[Any] = list(edges) if isinstance(edges, list | tuple) else [None]
    numbers = all(not isinstance(each, bool) and isinstance(each, int | float) for each in listed)
    if not numbers or any(not 0 < low < high for low, high in pairwise([*listed, math.inf])):
        raise UserError(
            expected="ascending lesion_edges above 0", found=f"{edges}", do="write them as lesion_edges=[5,10,20]"
        )


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
