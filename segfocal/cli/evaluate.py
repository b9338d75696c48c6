"""`segfocal evaluate`: masks and their references in, metrics out."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from segfocal.cli.app import run
from segfocal.cli.data_options import tell_passed_over
from segfocal.errors import UserError
from segfocal.plain_text import visible

if TYPE_CHECKING:
    from segfocal.evaluate.case_metrics import CaseMetrics
    from segfocal.evaluate.judge import JudgedCase
    from segfocal.evaluate.options import MaskEvaluation
    from segfocal.evaluate.pairing import CaseFiles

_SHOWN: tuple[str, ...] = (
    "case",
    "structure",
    "status",
    "dice",
    "iou",
    "precision",
    "recall",
    "volume_difference_ml",
    "hd95_mm",
)
_SHOWN += ("assd_mm", "nsd", "lesion_f1", "roc_auc", "pr_auc")
_MOST_WARNINGS = 5
_SUMMARISED = ("dice", "hd95_mm", "assd_mm", "nsd", "lesion_f1", "roc_auc", "pr_auc")


def main() -> int:
    """Run the command; return its exit code."""
    return run("evaluate", evaluate)


def evaluate(config: DictConfig) -> None:
    """Judge masks by a config, print a table and say where the files are.

    Raises:
        UserError: as `evaluate.evaluate`, and at the end when some of many cases could not be judged.
    """
    from segfocal.evaluate.evaluate import evaluate as evaluate_masks

    evaluation = _evaluation(OmegaConf.to_container(config, resolve=True, throw_on_missing=True))
    tell = partial(tell_passed_over, root=evaluation.prediction)
    judged = evaluate_masks(evaluation, showing=_with_progress, telling=tell)
    if evaluation.many:
        _print_summary([metrics for case in judged for metrics in case.metrics])
    else:
        rows = [row for case in judged for row in case.rows()]
        print_table([{name: row[name] for name in _SHOWN if name in row} for row in rows])
    _warn_of_absent(judged)
    if evaluation.against:
        print(visible(str(evaluation.output / "comparison.csv")))
    _warn_of_crowded([text for case in judged for text in case.crowded()])
    for name in ("metrics.csv", "lesions.csv", "report.html"):
        if (evaluation.output / name).is_file():
            print(visible(str(evaluation.output / name)))
    failed = [case.files.name for case in judged if case.failure is not None]
    if failed:
        raise UserError(
            expected="every case readable",
            found=f"{len(failed)} that could not be judged: {', '.join(failed[:5])}{' …' * (len(failed) > 5)}",
            where=evaluation.output / "metrics.csv",
            do="see their messages there, mend them and evaluate again",
        )


def _warn_of_absent(judged: Sequence[JudgedCase]) -> None:
    """Say in one line which structures, with the label values asked for, no mask holds."""
    absent = {each.structure: each.label for case in judged for each in case.metrics if each.status == "nowhere"}
    if absent:
        named = ", ".join(f"{name} ({value})" for name, value in absent.items())
        said = "warning: no reference or prediction holds a voxel of"
        print(visible(f"{said} {named}: left out of the means; check labels="), file=sys.stderr)


def _warn_of_crowded(texts: Sequence[str]) -> None:
    """Name the masks with so many lesions that not all are listed; a line each, and one for what is left."""
    for text in texts[:_MOST_WARNINGS]:
        print(visible(f"warning: {text}; is it noise?"), file=sys.stderr)
    if len(texts) > _MOST_WARNINGS:
        print(f"warning: {len(texts) - _MOST_WARNINGS} more such masks, named in metrics.csv", file=sys.stderr)


def _evaluation(plain: Any) -> MaskEvaluation:
    """Build the record of a config; UserError for a value out of range."""
    from segfocal.cluster.cluster_settings import ClusterSettings
    from segfocal.evaluate.options import EvaluationSettings, MaskEvaluation

    groups = plain["metrics"]
    if plain["figures"] is not None:
        print("note: figures=… is now spelt metrics=…", file=sys.stderr)
        groups = plain["figures"]
    given = {name: Path(plain[name]) if plain[name] else None for name in ("against", "image", "probabilities")}
    prediction = Path(plain["prediction"])
    return MaskEvaluation(
        prediction=prediction,
        reference=Path(plain["reference"]),
        output=Path(plain["output"]) if plain["output"] else _beside(prediction),
        settings=EvaluationSettings(
            labels=plain["labels"],
            ignore=plain["ignore"],
            groups=[groups] if isinstance(groups, str) else groups,
            tolerance_mm=plain["tolerance_mm"],
            lesion_overlap=plain["lesion_overlap"],
            lesion_iou=plain["lesion_iou"],
            lesion_edges=plain["lesion_edges"],
            lesion_size=plain["lesion_size"],
            froc_floor=plain["froc_floor"],
        ),
        workers=plain["workers"],
        pictures=plain["pictures"],
        overwrite=plain["overwrite"],
        cluster=ClusterSettings.of(plain["cluster"]),
        **given,
    )


def _beside(prediction: Path) -> Path:
    """Return a folder named after a mask, a folder of them, or the fixed part of a pattern."""
    from segfocal.io.volumes import is_many, stem

    if prediction.is_dir():
        prediction = prediction.resolve()
        return prediction.with_name(f"{prediction.name}_evaluation")
    if is_many(prediction):
        while is_many(prediction) and not prediction.is_dir():
            prediction = prediction.parent
        return prediction / "evaluation"
    return prediction.with_name(f"{stem(prediction)}_evaluation")


def _with_progress(cases: Sequence[CaseFiles], judged: Iterable[JudgedCase]) -> Iterator[JudgedCase]:
    from segfocal.engine.progress import StepProgress

    with StepProgress(total=len(cases), done=0, noun="case") as progress:
        for done, case in enumerate(judged, start=1):
            yield case
            progress.step(done, "judged")


def _print_summary(metrics: Sequence[CaseMetrics]) -> None:
    """Print a line for each structure: cases, those that are not in both masks, and means with intervals."""
    from segfocal.evaluate.summary import METRICS, summarise

    lines = []
    for summary in summarise(metrics):
        counts = summary.statuses.items()
        odd = [f"{count} {status}".replace("_", " ") for status, count in counts if count and status != "ok"]
        line: dict[str, Any] = {"structure": summary.structure, "cases": str(summary.cases), "of these": "\n".join(odd)}
        for metric in METRICS:
            if metric.name in _SUMMARISED and metric.name in summary.metrics:
                spread = summary.metrics[metric.name]
                interval = "" if spread.low is None else f"\n{spread.low:.3f} to {spread.high:.3f}"
                line[metric.title + f" {metric.unit}" * bool(metric.unit)] = f"{spread.mean:.3f}{interval}"
        lines.append(line)
    columns = dict.fromkeys(name for line in lines for name in line)
    lines = [{name: line.get(name, "–") for name in columns} for line in lines]
    if lines:
        print("mean over cases and its 95 % bootstrap interval")
        print_table(lines)


def print_table(rows: list[dict[str, Any]]) -> None:
    """Print rows as a table with the columns of the first, numbers to three places; nothing of no rows."""
    if not rows:
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for name in rows[0]:
        table.add_column(Text(visible(name)), justify="left" if isinstance(rows[0][name], str) else "right")
    for row in rows:  # as Text: [red] in a name is no colour
        cells = [f"{value:.3f}" if isinstance(value, float) else str(value) for value in row.values()]
        table.add_row(*[Text(visible(cell)) for cell in cells])
    console = Console(width=None if Console().is_terminal else 160)
    console.print(table)
