"""What comes after the training loop: the bundle to keep, its scores with pictures, the curves and the summary."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from segfocal.engine.postprocess_choice import choose_rules
from segfocal.engine.record import Record
from segfocal.engine.run import Run
from segfocal.engine.validate import Score, validate
from segfocal.inference import bundle as bundles
from segfocal.io import passed_over


def finish(run: Run, record: Record, outcome: Mapping[str, Any], *, started: float) -> dict[str, Any]:
    """Write the results of a run that has trained, and return the summary; in the main process only.

    Args:
        run: with its last weights.
        record: of all its steps.
        outcome: what the summary begins with.
        started: when it began, by `time.monotonic`.
    """
    seconds = round(time.monotonic() - started, 1)
    held, best, device = run.plan.cases.of("val"), run.folder / "checkpoints" / "best", run.accelerator.device
    keep_best = run.plan.settings.keep == "best" and run.state.best_step > 0
    bundle = bundles.load(best) if keep_best else run.bundle()
    bundle.model.to(device)
    tried: dict[str, Any] = {}
    if run.plan.settings.postprocess == "auto":
        rules, tried["postprocess"] = choose_rules(bundle, held, device=device)
        bundle = replace(bundle, postprocess=rules)
    bundles.save(bundle, run.folder / "bundle")
    scores = validate(bundle, held, device=device, fully=True, pictures=run.folder / "overlays")
    record.draw()
    summary = {
        **outcome,
        "steps": run.state.step,
        "seconds": seconds,
        "bundle": {
            "folder": "bundle",
            "weights": "best" if keep_best else "last",
            "step": run.state.best_step if keep_best else run.state.step,
        },
        "best": {"step": run.state.best_step, "dice": run.state.best_dice} if held else None,
        "skipped_steps": run.state.skipped,
        "parameters": sum(p.numel() for p in bundle.model.parameters()),
        **tried,
        "passed_over": passed_over.rows(run.plan.cases.passed_over, run.plan.where),
        "scores": [_as_row(score) for score in scores],
    }
    record.summarise(summary)
    return summary


def _as_row(score: Score) -> dict[str, Any]:
    metrics = {"auc": score.auc, "hd95_mm": score.hd95_mm, **score.counts.row()}
    return {"case": score.case, "structure": score.structure, "prompt": score.prompt, **metrics}
