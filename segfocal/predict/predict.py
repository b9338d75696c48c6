"""A bundle and a scan in, a mask on disk out: options → scan → prompts → label map → files and report."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import torch

from segfocal.errors import UserError
from segfocal.files import write_json
from segfocal.grid import Volume
from segfocal.inference import bundle as bundles
from segfocal.inference.bundle import Bundle
from segfocal.inference.ensemble import training_values
from segfocal.inference.predictor import Predictor
from segfocal.inference.segment import label_type, segment_with
from segfocal.inference.sliding.sliding_options import SlidingOptions
from segfocal.io.scratch import scratch_array
from segfocal.predict.inputs import scan_ahead
from segfocal.predict.intensity_check import foreign_intensities
from segfocal.predict.options import PostProcessing, PredictOptions
from segfocal.predict.outputs import check_outputs, prediction_report, report_path, write_outputs
from segfocal.predict.prediction import Prediction, ScratchProbabilities
from segfocal.predict.prompts import prompts_of_scan
from segfocal.predict.structure_sizes import StructureSizes


def predict(options: PredictOptions) -> dict[str, Any]:
    """Segment a scan, write the mask and beside it a JSON report of the same name; return the report.

    Raises:
        UserError: an output that exists, prompts that do not fit, and whatever reading and loading raise. Nothing is
            half-written.
    """
    started = time.monotonic()
    check_outputs(options, claimed=True)
    with scan_ahead(options) as scan_of:
        predictor = load_predictor(options)
        scan = scan_of(predictor.bundle)
    prediction = segment_scan(predictor, options, scan)
    return write_prediction(predictor, options, prediction, started=started)


def load_predictor(options: PredictOptions) -> Predictor:
    """Load the bundles onto the device; UserError for structures that may overlap without a file for each."""
    loaded = [bundles.load(folder) for folder in options.bundles]
    if loaded[0].structures[0].overlaps and not options.outputs.separate:
        raise UserError(
            expected="separate=true for structures that may overlap",
            found="one label map to write, which holds one structure a voxel",
            where=options.bundles[0],
            do="add separate=true: a mask file for each structure, named after output",
        )
    return ready_predictor(loaded, postprocess=options.postprocess, sliding=options.sliding, device=options.device)


def ready_predictor(
    loaded: Sequence[Bundle], *, postprocess: PostProcessing, sliding: SlidingOptions, device: torch.device
) -> Predictor:
    """Return bundles ready to segment scans.

    Args:
        loaded: one, or several whose logits are averaged.
        postprocess: "auto" for the first one's own rules, or "none".
        sliding: how windows slide.
        device: of the networks.
    """
    ready = [replace(bundle, postprocess={}) for bundle in loaded] if postprocess == "none" else list(loaded)
    if len(ready) > 1:  # scans are judged by what any of them was trained on
        ready[0] = replace(ready[0], training_values=training_values(ready))
    return Predictor(ready, sliding=sliding, device=device)


def segment_scan(predictor: Predictor, options: PredictOptions, scan: Volume) -> Prediction:
    """Segment a scan that was read; mask and maps grow in scratch files beside the output."""
    bundle, folder = predictor.bundle, options.outputs.mask.parent
    with ThreadPoolExecutor(1) as beside, ExitStack() as stack:
        judged = beside.submit(foreign_intensities, scan, bundle)
        maps = None
        if options.outputs.probabilities:
            maps = stack.enter_context(ScratchProbabilities.on_disk(folder, bundle, scan.grid))
        with prompts_of_scan(options.prompts, scan.grid, bundle) as prompts:
            out = stack.enter_context(scratch_array(folder, scan.grid.shape, label_type(bundle.structures)))
            mask = segment_with(predictor, scan, prompts=prompts, watch=maps, out=out)
        said = prompts.report() if prompts else {}
        foreign = judged.result()
        return Prediction(scan=scan, mask=mask, maps=maps, prompts_report=said, foreign=foreign, held=stack.pop_all())


def write_prediction(
    predictor: Predictor, options: PredictOptions, prediction: Prediction, *, started: float
) -> dict[str, Any]:
    """Write what is asked for, measuring it meanwhile, the report last; return that. The prediction is gone afterwards.

    Args:
        predictor: which made the prediction.
        options: what to write, and where.
        prediction: what was found.
        started: time.monotonic() at the beginning, for the report.
    """
    bundle = predictor.bundle
    with prediction.held, ThreadPoolExecutor(1) as beside:
        writing = beside.submit(write_outputs, options, prediction, bundle)
        sizes = StructureSizes.of(prediction.mask, prediction.scan, bundle.structures)
        files = writing.result()
    report = prediction_report(options, predictor, prediction, files=files, sizes=sizes)
    report["seconds"] = round(time.monotonic() - started, 2)
    write_json(report_path(options.outputs.mask), report)
    return report
