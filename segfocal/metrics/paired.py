"""Two predictions of the same cases side by side: the mean difference, how sure it is, and whether it may be chance.

The interval is that of `bootstrap_mean` over cases. p is that of Wilcoxon's signed-rank test, two-sided (Biometrics
Bulletin 1, 1945, as scipy has it): pairs without a difference are left out, equal differences share their mean rank, p
is exact for up to 50 pairs without equal ranks and a normal approximation otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import wilcoxon

from segfocal.metrics.bootstrap import Interval, bootstrap_mean

FEWEST_PAIRS = 6  # below that the test cannot reach p < 0.05 however clear the difference


@dataclass(frozen=True, kw_only=True)
class PairedDifference:
    """How the first of two predictions differs from the second over cases.

    mean: of first − second, with its interval. p: of Wilcoxon's test, None with fewer than six pairs that differ.
    better, worse: the number of cases in which the first is; equal: in which neither.
    """

    mean: Interval
    p: float | None
    better: int
    worse: int
    equal: int

    @property
    def pairs(self) -> int:
        """Number of cases compared."""
        return self.better + self.worse + self.equal


def compare_pairs(first: ArrayLike, second: ArrayLike, *, larger_is_better: bool, seed: int) -> PairedDifference:
    """Compare values [n] of one figure in the same n cases; ValueError unless both are finite and of one length ≥ 1."""
    one, other = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if one.shape != other.shape or one.ndim != 1 or not len(one) or not np.isfinite([one, other]).all():
        raise ValueError(f"expected finite pairs of values; got {one.shape} and {other.shape}")
    difference = one - other
    above, below = int((difference > 0).sum()), int((difference < 0).sum())
    testable = above + below >= FEWEST_PAIRS
    return PairedDifference(
        mean=bootstrap_mean(difference, seed=seed),
        p=float(wilcoxon(difference, zero_method="wilcox").pvalue) if testable else None,
        better=above if larger_is_better else below,
        worse=below if larger_is_better else above,
        equal=len(difference) - above - below,
    )


def holm(values: Sequence[float | None]) -> list[float | None]:
    """Return p values corrected for their number by Holm's step-down method (1979); None stays and does not count."""
    ranked = sorted((p, index) for index, p in enumerate(values) if p is not None)
    corrected: list[float | None] = [None] * len(values)
    largest = 0.0
    for place, (p, index) in enumerate(ranked):
        largest = max(largest, min(1.0, p * (len(ranked) - place)))
        corrected[index] = largest
    return corrected
