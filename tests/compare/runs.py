"""Folders of runs for tests: what a run leaves behind, without training one."""

import json

from segfocal.compare.runs import note_failure, note_start


def make_run(folder, dice, *overrides, error=None, finished=True):
    """Leave what a run leaves: Dice by case, without a prompt; with boxes it is always 1."""
    folder.mkdir(parents=True)
    note_start(folder, overrides)
    if error:
        note_failure(folder, overrides, error)
        return
    (folder / "metrics.jsonl").write_text('{"step": 5, "val_dice": 0.5}\n{"step": 6}\n{"step": 10, "val_dice": 0.7}\n')
    others = {"iou": 0.5, "precision": 0.5, "recall": 0.5, "accuracy": 0.5, "auc": 0.9, "hd95_mm": 3.0}
    counts = {"tp": 1, "fp": 2, "fn": 3, "tn": 4}
    scores = [
        {"case": case, "structure": "liver", "prompt": prompt, "dice": value, **others, **counts}
        for case, without in dice.items()
        for prompt, value in (("none", without), ("box", 1.0))
    ]
    if finished:
        (folder / "summary.json").write_text(json.dumps({"status": "finished", "seconds": 2.5, "scores": scores}))
