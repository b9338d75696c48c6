"""Losses by lesion on synthetic lesions: how many of the small ones are found at equal false positives a case.

    python benchmarks/lesion_losses.py [--losses focal+dice focal+cc_dice …] [--seeds 0 1 2 3 4] [--copies 16]
                                       [--steps 1200] [--rate 2] [--runs runs/lesions] [--options KEY=VALUE …]

Does all of it, and only what is missing: makes the lesions (scripts/make_lesions.py), trains by experiment=lesions, a
run for each loss and seed, segments the held-out scans, and writes a table and a plot beside the runs and JSON under
benchmarks/results. --options go to every run's training. Held out is every other copy of each scan: other lesions in
bodies that are trained on, as two scans are too few to learn bodies from. What is compared is which lesions are found.

A run's threshold is where its FROC over all held-out cases has at most --rate false positives a case; recall is that of
the smallest third of all their lesions there. Losses are compared with the first one (focal+dice) by case, each case's
recall being the mean over seeds: Wilcoxon's signed-rank test, corrected by Holm for the number of losses.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from datetime import date
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
import torch

from segfocal.connected_components import components
from segfocal.data.cases import read_cases
from segfocal.inference import bundle as bundles
from segfocal.inference.segment import segment
from segfocal.io import nifti
from segfocal.metrics import holm
from segfocal.metrics.cc_dice import cc_dice_of
from segfocal.metrics.components_matching import ComponentOverlaps
from segfocal.metrics.froc import Candidates, froc_curve
from segfocal.metrics.paired import compare_pairs
from segfocal.report import plots

ROOT = Path(__file__).resolve().parents[1]
LOSSES = ["focal+dice", "focal+cc_dice", "focal+dice+blob", "component_focal+dice"]
FLOOR = 0.02  # probability from which on a voxel belongs to a candidate


def run(*command):
    print("$", *command, flush=True)
    subprocess.run([sys.executable, *command], check=True, cwd=Path.cwd(), env=os.environ)


def prepare(asked):
    """Make the lesions and the runs that are missing."""
    data = Path("runs/synthetic_lesions")
    if not (data / "cases.csv").is_file():
        run(str(ROOT / "scripts/make_lesions.py"), "--copies", str(asked.copies), "--split", "copies")
    losses, seeds = ",".join(asked.losses), ",".join(map(str, asked.seeds))
    options = [f"sweep.loss=[{losses}]", f"sweep.seed=[{seeds}]", f"train.steps={asked.steps}"]
    options += [f"hydra.sweep.dir={asked.runs}", *asked.options]
    run(str(ROOT / "scripts/train.py"), "experiment=lesions", *options)
    return [case for case in read_cases(data / "cases.csv").cases if case.split == "val"]


def probabilities(case, bundle):
    """Return the probabilities and the mask of a case in the model's frame, and its spacing."""
    scan, truth = nifti.read(case.image), nifti.read_labels(case.label).oriented(bundle.grid.frame)
    found = np.zeros(truth.array.shape, np.float32)

    def watch(first, logits):
        found[first : first + len(logits)] = torch.as_tensor(logits)[:, 0].float().sigmoid().numpy()

    segment(scan, bundle, watch=watch)
    return found, truth.array != 0, truth.grid.spacing_mm


def measured(folder, cases):
    """Return a row for each case: candidates, lesions with their sizes, Dice and CC-Dice; kept beside the run."""
    kept = folder / "lesions.json"
    if kept.is_file() and kept.stat().st_mtime > (folder / "summary.json").stat().st_mtime:
        return json.loads(kept.read_text())
    bundle, rows = bundles.load(folder / "bundle"), []
    for case in cases:
        p, truth, spacing_mm = probabilities(case, bundle)
        candidates = Candidates.of(p, truth, floor=FLOOR)
        overlaps = ComponentOverlaps.between(p >= 0.5, truth)
        both = int((truth & (p >= 0.5)).sum())
        rows.append(
            {
                "case": case.name,
                "false": candidates.false.tolist(),
                "lesions": candidates.lesions.tolist(),
                "mm3": (components(truth).sizes * float(np.prod(spacing_mm))).tolist(),
                "dice": 2 * both / max(int(truth.sum()) + int((p >= 0.5).sum()), 1),
                "cc_dice": cc_dice_of(overlaps, spacing_mm),
            }
        )
    kept.write_text(json.dumps(rows))
    return rows


def recalls(rows, rate, small_mm3):
    """Return recall of all lesions and of the small ones at a rate of false positives, and of these that by case."""
    found = [Candidates(false=np.array(row["false"]), lesions=np.array(row["lesions"])) for row in rows]
    curve = froc_curve(found)
    reached = int(np.searchsorted(curve.false_positives, rate * (1 + 1e-12), side="right"))
    threshold = curve.thresholds[reached - 1] if reached else np.inf
    hits = [np.array(row["lesions"]) >= threshold for row in rows]
    small = [np.array(row["mm3"]) <= small_mm3 for row in rows]
    by_case = {r["case"]: float(h[s].mean()) for r, h, s in zip(rows, hits, small, strict=True) if s.any()}
    few = np.concatenate([h[s] for h, s in zip(hits, small, strict=True)])
    return float(np.concatenate(hits).mean()), float(few.mean()), by_case, curve.score


def table_of(asked, cases):
    """Return a row for each loss."""
    rows, first = [], None
    for loss in asked.losses:
        runs = [measured(asked.runs / f"loss={loss},seed={seed}", cases) for seed in asked.seeds]
        small_mm3 = float(np.quantile([size for row in runs[0] for size in row["mm3"]], 1 / 3))
        found = [recalls(one, asked.rate, small_mm3) for one in runs]
        names = list(found[0][2])
        by_case = [fmean(one[2][name] for one in found) for name in names]
        first = by_case if first is None else first
        compared = compare_pairs(by_case, first, larger_is_better=True, seed=0)
        rows.append(
            {
                "loss": loss,
                "small_recall": [one[1] for one in found],
                "recall": [one[0] for one in found],
                "froc": [one[3] for one in found],
                "dice": [fmean(row["dice"] for row in one) for one in runs],
                "cc_dice": [fmean(row["cc_dice"] for row in one) for one in runs],
                "difference": compared.mean.mean if loss != asked.losses[0] else None,
                "better_worse_equal": [compared.better, compared.worse, compared.equal],
                "p": compared.p if loss != asked.losses[0] else None,
                "small_mm3": small_mm3,
            }
        )
    for row, p in zip(rows, holm([row["p"] for row in rows]), strict=True):
        row["p_holm"] = p
    return rows


def shown(values):
    return f"{fmean(values):.3f} ± {stdev(values):.3f}" if len(values) > 1 else f"{values[0]:.3f}"


def write(asked, rows, cases):
    """Print the table, and write it with the plot."""
    columns = ("small_recall", "recall", "froc", "dice", "cc_dice")
    lines = [
        "| loss | recall, smallest third | all | FROC | Dice | CC-Dice | difference | p (Holm) |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        p = "" if row["p_holm"] is None else f"{row['p_holm']:.3g}"
        difference = "" if row["difference"] is None else f"{row['difference']:+.3f}"
        lines.append(f"| {row['loss']} | {' | '.join(shown(row[c]) for c in columns)} | {difference} | {p} |")
    text = "\n".join(lines)
    print(f"synthetic lesions: {len(cases)} scans, {asked.rate:g} false positives a case, seeds {asked.seeds}\n{text}")
    (asked.runs / "synthetic_lesions.md").write_text(text + "\n")
    label = f"recall of the smallest third of synthetic lesions at {asked.rate:g} false positives a case: a dot a seed"
    plots.draw_strips(
        asked.runs / "synthetic_lesions.png", {row["loss"]: row["small_recall"] for row in rows}, xlabel=label
    )
    facts = {"date": date.today().isoformat(), "machine": platform.processor() or platform.machine()}
    facts |= {
        "command": " ".join(["python benchmarks/lesion_losses.py", *sys.argv[1:]]),
        "cases": len(cases),
        "rate": asked.rate,
        "torch": torch.__version__,
    }
    place = ROOT / "benchmarks" / "results" / "lesion_losses_synthetic.json"
    place.write_text(json.dumps(facts | {"rows": rows}, indent=1) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--losses", nargs="+", default=LOSSES, help="the first is what others are against")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--copies", type=int, default=16, help="of each scan, where the lesions are not made yet")
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--rate", type=float, default=2.0, help="false positives a case")
    parser.add_argument("--runs", type=Path, default=Path("runs/lesions"))
    parser.add_argument("--options", nargs="*", default=[], help="of segfocal train")
    asked = parser.parse_args()
    cases = prepare(asked)
    write(asked, table_of(asked, cases), cases)


if __name__ == "__main__":
    main()
