"""What comes after the training loop: the bundle to keep, its scores with pictures, the curves and the summary."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from segfocal.engine.postprocess_choice import choose_rules
from segfocal.engine.record import Record
from segfocal.engine.run import Run
from segfocal.engine.validate import Score, validate
from segfocal.inference import bundle as bundles
from segfocal.inference.model_card import CardMetric, CardResults, write_card
from segfocal.io import passed_over
from segfocal.metrics import bootstrap_mean


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
    by_held = keep_best or (bool(tried) and bool(bundle.postprocess))
    write_card(run.folder / "bundle", results=results_of(scores, run.folder / "summary.json", chosen_on=by_held))
    return summary


def results_of(scores: Sequence[Score], source: Path, *, chosen_on: bool) -> CardResults:
    """Return the scores of held-out cases as a model card has them: means over cases, with intervals.

    Args:
        scores: of the last validation.
        source: the file that has them.
        chosen_on: whether weights or rules were chosen by the same cases.
    """
    rows: dict[tuple[str, str, str], list[float]] = {}
    for score in scores:
        for metric, value in (("dice", score.counts.dice), ("hd95_mm", score.hd95_mm)):
            if value is not None:
                rows.setdefault((score.structure, metric, score.prompt), []).append(value)
    metrics = []
    for (structure, metric, prompt), values in rows.items():
        mean, low, high = bootstrap_mean(values, seed=0)
        one = CardMetric(
            structure=structure, metric=metric, prompt=prompt, cases=len(values), mean=mean, low=low, high=high
        )
        metrics.append(one)
    how = "Of cases that were held out: no step of the training has seen them."
    how += " Weights or rules were chosen by them, so the numbers flatter." if chosen_on else ""
    return CardResults(metrics=metrics, source=source, how=how)


def _as_row(score: Score) -> dict[str, Any]:
    metrics = {"auc": score.auc, "hd95_mm": score.hd95_mm, **score.counts.row()}
    return {"case": score.case, "structure": score.structure, "prompt": score.prompt, **metrics}
