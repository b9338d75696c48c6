"""The components of two masks side by side: which overlap and by how much, and which belong together one to one.

    IoU of two components = their common voxels / the voxels of either

Components have 26 neighbours a voxel in 3-D, 8 in 2-D, and are numbered from 1 by their first voxel, in the order of
the array (last axis fastest).

One-to-one matching goes through the pairs of components by descending IoU and takes each whose IoU exceeds a threshold
and of which neither component is taken yet. From a threshold of 0.5 on, no component can have two such partners, so
there is one matching only. Below 0.5 the order decides: another one might match more. Pairs of equal IoU go by the
number of the predicted component, then by that of the reference's.

Sources: Kirillov et al., "Panoptic Segmentation", arXiv:1801.00868, section 4.1; the order is that of panoptica's
`NaiveThresholdMatching` (Kofler et al., arXiv:2312.02608). Deliberate difference: an IoU must exceed the threshold, as
in the paper; in panoptica one that equals it is enough, and two halves of a lesion, each of IoU 0.5, may then compete.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segfocal.connected_components import Components, components
from segfocal.metrics.detection import Detections

_MOST_COUNTERS = 1 << 20  # up to which counting is faster than sorting, and small


@dataclass(frozen=True, kw_only=True, eq=False)
class ComponentOverlaps:
    """The components of a prediction and of its reference, and the voxels that they have in common.

    Args:
        predicted: components of the prediction.
        true: components of the reference.
        pairs: [m,2] numbers, from 1, of a component of the reference and a predicted one that overlap.
        common: [m] voxels that lie in both.
    """

    predicted: Components
    true: Components
    pairs: NDArray[np.int64]
    common: NDArray[np.int64]

    @classmethod
    def between(cls, prediction: NDArray, reference: NDArray) -> ComponentOverlaps:
        """Number the components of two masks [h,w] or [d,h,w], non-zero inside, and count what they have in common.

        Raises:
            ValueError: masks of different shapes or another number of axes.
        """
        if prediction.shape != reference.shape or prediction.ndim not in (2, 3):
            raise ValueError(
                f"expected two masks of one shape with 2 or 3 axes; got {prediction.shape} and {reference.shape}"
            )
        predicted, true = (components(np.ascontiguousarray(mask != 0)) for mask in (prediction, reference))
        both = (predicted.numbers > 0) & (true.numbers > 0)
        width = len(predicted.sizes) + 1
        joint = true.numbers[both].astype(np.int64) * width + predicted.numbers[both].astype(np.int64)
        keys, common = _counted(joint, most=width * (len(true.sizes) + 1))
        pairs = np.stack(np.divmod(keys, width), axis=1)
        return cls(predicted=predicted, true=true, pairs=pairs, common=common)

    @property
    def iou(self) -> NDArray[np.float64]:
        """IoU [m] of each pair, in (0,1]."""
        both = self.true.sizes[self.pairs[:, 0] - 1] + self.predicted.sizes[self.pairs[:, 1] - 1]
        return self.common / (both - self.common)

    @property
    def right(self) -> NDArray[np.int64]:
        """Voxels of each component of the reference that are predicted, [n]."""
        return _sums(self.pairs[:, 0], self.common, len(self.true.sizes))

    def found(self, overlap: float = 0.0) -> NDArray[np.bool_]:
        """Return for each component of the reference whether more than a share `overlap` of it is predicted, [n]."""
        return self.right > overlap * self.true.sizes

    def useful(self, overlap: float = 0.0) -> NDArray[np.bool_]:
        """Return for each predicted component whether more than a share `overlap` of it lies in the reference."""
        inside = _sums(self.pairs[:, 1], self.common, len(self.predicted.sizes))
        return inside > overlap * self.predicted.sizes

    def detections(self, overlap: float = 0.0) -> Detections:
        """Count components found, predicted wrongly and missed, by any overlap of more than the share given."""
        found, useful = self.found(overlap), self.useful(overlap)
        return Detections(
            tp=int(np.count_nonzero(found)),
            fp=int(np.count_nonzero(~useful)),
            fn=int(np.count_nonzero(~found)),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Matching:
    """Which components of a prediction and its reference belong together, one to one at most.

    Args:
        predicted_of: [n] for each component of the reference the number of its predicted one; 0 without one.
        true_of: [m] for each predicted component the number of the reference's; 0 without one.
        iou: [n] for each component of the reference the IoU with its predicted one; 0 without one.
    """

    predicted_of: NDArray[np.int64]
    true_of: NDArray[np.int64]
    iou: NDArray[np.float64]

    @property
    def detections(self) -> Detections:
        """Components matched (TP), predicted without a match (FP) and of the reference without one (FN)."""
        tp = int(np.count_nonzero(self.predicted_of))
        return Detections(tp=tp, fp=len(self.true_of) - tp, fn=len(self.predicted_of) - tp)


def match_components(overlaps: ComponentOverlaps, *, threshold: float = 0.5) -> Matching:
    """Match components one to one by descending IoU.

    Args:
        overlaps: of the two masks.
        threshold: in [0,1), which an IoU must exceed; at 0 any overlap is enough.

    Raises:
        ValueError: a threshold outside [0,1).
    """
    if not 0 <= threshold < 1:
        raise ValueError(f"expected a threshold in [0,1); got {threshold}")
    iou = overlaps.iou
    order = np.lexsort((overlaps.pairs[:, 0], overlaps.pairs[:, 1], -iou))
    order = order[iou[order] > threshold]
    predicted_of = np.zeros(len(overlaps.true.sizes), np.int64)
    true_of = np.zeros(len(overlaps.predicted.sizes), np.int64)
    matched_iou = np.zeros(len(predicted_of))
    for (true, predicted), value in zip(overlaps.pairs[order].tolist(), iou[order].tolist(), strict=True):
        if not predicted_of[true - 1] and not true_of[predicted - 1]:
            predicted_of[true - 1], true_of[predicted - 1], matched_iou[true - 1] = predicted, true, value
    return Matching(predicted_of=predicted_of, true_of=true_of, iou=matched_iou)


def _counted(values: NDArray[np.int64], *, most: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the values below `most` that occur, and how often each does."""
    if most > _MOST_COUNTERS:
        keys, counts = np.unique(values, return_counts=True)
        return keys, counts.astype(np.int64)
    counts = np.bincount(values, minlength=1)
    keys = np.flatnonzero(counts)
    return keys, counts[keys]


def _sums(numbers: NDArray[np.int64], values: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return the sum of the values of each number from 1 to `count`."""
    return np.bincount(numbers, weights=values, minlength=count + 1)[1:].astype(np.int64)
