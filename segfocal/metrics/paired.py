"""Two predictions of the same cases side by side: the mean difference, its interval, and whether it may be chance.

The interval is that of `bootstrap_mean` over cases. p is that of Wilcoxon's signed-rank test, two-sided: pairs without
a difference are left out, differences of one size share their mean rank. Up to 50 pairs that differ p is exact, shared
ranks included (scipy's is then a normal approximation or, up to 13 pairs, the same number by trying all signs, which
takes seconds); beyond 50 it is scipy's normal approximation.

Sources: Wilcoxon, Biometrics Bulletin 1, 1945; Holm, Scandinavian Journal of Statistics 6, 1979.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata, wilcoxon

from segfocal.metrics.bootstrap import Interval, bootstrap_mean

_MOST_EXACT = 50  # the number of ways to give them signs, 2⁵⁰, is still exact in float64
FEWEST_PAIRS = 6  # below that the test cannot reach p < 0.05 however clear the difference


@dataclass(frozen=True, kw_only=True)
class PairedDifference:
    """How the first of two predictions differs from the second over cases.

    Args:
        mean: of first − second, with its 95 % interval.
        p: of Wilcoxon's test, in (0,1]; None with fewer than 6 pairs that differ.
        better: number of cases in which the first is better.
        worse: number of cases in which the second is better.
        equal: number of cases in which they are equal.
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
    """Compare two predictions by one metric.

    Args:
        first: values [n] of the first prediction, one a case.
        second: values [n] of the second in the same cases.
        larger_is_better: which way the metric is better.
        seed: of the bootstrap.

    Raises:
        ValueError: values that are not finite, or not of one length ≥ 1.
    """
    one, other = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if one.shape != other.shape or one.ndim != 1 or not len(one) or not np.isfinite([one, other]).all():
        raise ValueError(f"expected finite pairs of values; got {one.shape} and {other.shape}")
    difference = one - other
    above, below = int((difference > 0).sum()), int((difference < 0).sum())
    testable = above + below >= FEWEST_PAIRS
    return PairedDifference(
        mean=bootstrap_mean(difference, seed=seed),
        p=signed_rank_p(difference) if testable else None,
        better=above if larger_is_better else below,
        worse=below if larger_is_better else above,
        equal=len(difference) - above - below,
    )


def signed_rank_p(differences: NDArray[np.float64]) -> float:
    """Return the two-sided p of Wilcoxon's signed-rank test for differences [n]; 1 where none differs from 0."""
    signed = differences[differences != 0]
    if len(signed) > _MOST_EXACT:
        return float(wilcoxon(signed).pvalue)
    ranks = np.rint(2 * rankdata(np.abs(signed))).astype(int)  # doubled, so that shared ranks are whole
    ways = np.zeros(int(ranks.sum()) + 1)  # in how many choices of signs the positive ranks have each sum
    ways[0] = 1
    for rank in ranks:
        ways[rank:] += ways[:-rank].copy()
    positive = int(ranks[signed > 0].sum())
    tail = min(ways[: positive + 1].sum(), ways[positive:].sum())
    return float(min(1.0, 2 * tail / 2.0 ** len(signed)))


def holm(values: Sequence[float | None]) -> list[float | None]:
    """Return p values corrected for their number by Holm's step-down method; None stays and is not counted."""
    ranked = sorted((p, index) for index, p in enumerate(values) if p is not None)
    corrected: list[float | None] = [None] * len(values)
    largest = 0.0
    for place, (p, index) in enumerate(ranked):
        largest = max(largest, min(1.0, p * (len(ranked) - place)))
        corrected[index] = largest
    return corrected
