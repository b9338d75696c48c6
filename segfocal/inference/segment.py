"""From a scan to a label map on the scan's own grid, slab by slab.

scan → model input → windows or prompts → model → logits → scan's pixels → label → scan's axes → post-processing
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from segfocal.errors import UserError
from segfocal.grid import Volume
from segfocal.inference.bundle import Bundle
from segfocal.inference.labelling import Watcher, label_slab
from segfocal.inference.postprocess import PostprocessRules, clean
from segfocal.inference.predictor import Predictor
from segfocal.inference.prompted.propagation import propagate
from segfocal.inference.prompted.ready_volume import answer_boxes_of_volume
from segfocal.inference.prompted.scan_prompts import PropagatedPrompts, ScanPrompts
from segfocal.inference.prompted.slice_boxes import answer_boxes
from segfocal.inference.prompted.volume_model import VolumeModel
from segfocal.inference.sliding.model_input import ModelInput
from segfocal.inference.sliding.sliding_options import SlidingOptions
from segfocal.inference.sliding.sweep import Slab
from segfocal.inference.sliding.through_plane import at_depth
from segfocal.io.nifti import smallest_integer_type
from segfocal.models import PromptableModel
from segfocal.parallel import beside
from segfocal.structure import Structure


def segment(
    scan: Volume,
    bundle: Bundle,
    *,
    prompts: ScanPrompts | None = None,
    device: torch.device | str = "cpu",
    watch: Watcher | None = None,
) -> Volume:
    """Return the label map of a scan by one bundle with the usual options.

    Args:
        scan: as of `segment_with`.
        bundle: the trained model.
        prompts: as of `segment_with`.
        device: where the model runs.
        watch: as of `segment_with`.
    """
    return segment_with(
        Predictor([bundle], sliding=SlidingOptions(), device=device), scan, prompts=prompts, watch=watch
    )


@torch.no_grad()
def segment_with(
    predictor: Predictor,
    scan: Volume,
    *,
    prompts: ScanPrompts | None = None,
    watch: Watcher | None = None,
    out: NDArray | None = None,
) -> Volume:
    """Return the label map of a scan: each structure's value where its logit is above 0 and the largest.

    Of structures that may overlap it is the sum of the values of all whose logits are above 0. The bundle's
    post-processing follows.

    Args:
        predictor: the bundles, ready.
        scan: [x,y,z], or [x,y,z,c] for a bundle of c channels.
        prompts: on the model's grid, which the model answers; None: windows slide over the scan.
        watch: is called with the first index of logits [n,k,h,w], on the scan's pixels in the model's frame, and with
            them, in order along the slices, in a thread beside the network's.
        out: an array of zeros of the scan's shape to write to, as one on disk; None: a new one in memory.

    Raises:
        UserError: a scan of other channels, prompts for a model that takes none or for several, none for one that needs
            them.
    """
    bundle = predictor.bundle
    check_channels(bundle, len(scan.channels()))
    if prompts is None and bundle.needs_prompts:
        raise UserError(
            expected=f"boxes of {', '.join(structure.name for structure in bundle.structures)}",
            found="no prompt for a model that was trained with prompts only",
            do="add prompts=FILE.json, with prompt=box for a box on every slice, or train with task.first.none above 0",
        )
    image = ModelInput(scan, bundle.grid, bundle.intensity, neighbours=bundle.neighbours)
    slabs = predictor.slabs(image) if prompts is None else _answered(predictor, image, prompts)
    labels = np.zeros(scan.grid.shape, dtype=label_type(bundle.structures)) if out is None else out
    write_labels(slabs, Volume(array=labels, grid=scan.grid), bundle, depth=image.grid.shape[0], watch=watch)
    return cleaned(Volume(array=labels, grid=scan.grid), bundle, bundle.rules(prompted=prompts is not None))


def write_labels(
    slabs: Iterator[Slab], labels: Volume, bundle: Bundle, *, depth: int, watch: Watcher | None = None
) -> None:
    """Write to a label map what logits say.

    Args:
        slabs: logits on the model's grid, in order along its slices.
        labels: zeros, on the scan's grid.
        bundle: whose structures they are.
        depth: slices of the model's grid.
        watch: as of `segment_with`.
    """
    turned = labels.oriented(bundle.grid.frame).array
    label = partial(label_slab, labels=turned, structures=bundle.structures, watch=watch)
    beside(label, at_depth(slabs, now=depth, wanted=len(turned)))


def cleaned(labels: Volume, bundle: Bundle, rules: Mapping[int, PostprocessRules]) -> Volume:
    """Return a label map with rules applied: together, or to each of structures that may overlap by itself."""
    if not bundle.structures[0].overlaps:
        return clean(labels, rules)
    array = labels.array.copy(order="K") if rules else labels.array
    for structure in bundle.structures:
        if structure.value in rules:
            alone = Volume(array=structure.inside(array).astype(np.uint8), grid=labels.grid)
            kept = clean(alone, {1: rules[structure.value]}).array
            value = array.dtype.type(structure.value)
            array = np.where(kept != 0, array | value, array & ~value)
    return Volume(array=array, grid=labels.grid)


_DO = "give one file a channel in that order: input=[t1.nii.gz,t2.nii.gz]"


def check_channels(bundle: Bundle, count: int, found: str = "", *, do: str = _DO) -> None:
    """Raise UserError unless a scan is what a bundle takes.

    Args:
        bundle: which was trained on some number of channels.
        count: the scan's channels.
        found: what else to say of the scan, after their number.
        do: what the user can do.
    """
    if count != bundle.channels:
        raise UserError(
            expected=f"a scan of {bundle.channels} channel{'s' * (bundle.channels > 1)}, as the bundle was trained on",
            found=f"{count}{found}",
            do=do,
        )


def label_type(structures: Sequence[Structure]) -> np.dtype:
    """Return the smallest integer type that holds the label values of structures."""
    values = [structure.value for structure in structures]
    return smallest_integer_type(np.array([0, sum(values) if structures[0].overlaps else max(values)]))


def _answered(predictor: Predictor, image: ModelInput, prompts: ScanPrompts) -> Iterator[Slab]:
    """Return the logits that a promptable model answers to prompts; UserError for another model, or several."""
    model, device, size = promptable(predictor), predictor.device, predictor.batching.size
    whole = image.whole()
    if isinstance(prompts, PropagatedPrompts):
        return propagate(prompts, whole, model, device=device, batch_size=size)
    if model.of_volumes:
        volume = VolumeModel(image=whole, model=model, spacing_mm=image.grid.spacing_mm, change="slice", device=device)
        return answer_boxes_of_volume(prompts, volume, batch_size=size)
    boxes = prompts.boxes(whole.shape[1])
    return answer_boxes(whole, model, boxes, batch_size=size, device=device, zoom=prompts.zoom)


def promptable(predictor: Predictor) -> PromptableModel:
    """Return the model that answers prompts; UserError where it takes none, or for several bundles."""
    model = predictor.models[0]
    if not isinstance(model, PromptableModel):  # also through torch.compile
        model = predictor.bundle.model
    if not isinstance(model, PromptableModel):
        raise UserError(
            expected="a bundle of a promptable model for prompts",
            found=type(model).__name__,
            do="leave the prompts out, or train with task=promptable",
        )
    if len(predictor.models) > 1:
        raise UserError(
            expected="one bundle for prompts", found=f"{len(predictor.models)}", do="leave out all but one of them"
        )
    return model
