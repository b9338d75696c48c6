"""`segfocal evaluate`: masks and their references in, figures out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from segfocal.cli.app import run
from segfocal.errors import UserError

if TYPE_CHECKING:
    from segfocal.evaluate.case_metrics import Judged, Row
    from segfocal.evaluate.evaluate import Comparison
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
_SUMMARISED = ("dice", "hd95_mm", "assd_mm", "nsd", "lesion_f1", "roc_auc", "pr_auc")


def main() -> int:
    """Run the command; return its exit code."""
    return run("evaluate", evaluate)


def evaluate(config: DictConfig) -> None:
    """Judge masks by a config, print a table and say where the files are.

    Raises:
        UserError: as `serve.evaluate`, and at the end when some of many cases could not be judged.
    """
    from segfocal.evaluate.evaluate import evaluate as evaluate_masks

    plain: Any = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    comparison = _comparison(plain)
    rows = evaluate_masks(comparison, showing=_with_progress)
    if comparison.many:
        _print_summary(rows)
    else:
        print_table([{name: row[name] for name in _SHOWN if name in row} for row in rows])
    if comparison.against:
        print(f"{comparison.output / 'comparison.csv'}")
    print(f"{comparison.output / 'metrics.csv'}")
    print(f"{comparison.output / 'report.html'}")
    failed = [row["case"] for row in rows if row["status"] == "failed"]
    if failed:
        raise UserError(
            expected="every case readable",
            found=f"{len(failed)} that could not be judged: {', '.join(failed[:5])}{' …' * (len(failed) > 5)}",
            where=comparison.output / "metrics.csv",
            do="see their messages there, mend them and evaluate again",
        )


def _comparison(plain: dict[str, Any]) -> Comparison:
    from segfocal.evaluate.evaluate import Comparison

    figures, workers, pictures = plain["figures"], plain["workers"], plain["pictures"]
    if not (workers is None or (_whole(workers) and workers >= 1)) or not (_whole(pictures) and pictures >= 0):
        raise UserError(
            expected="workers ≥ 1 or null, and pictures ≥ 0",
            found=f"workers={workers} pictures={pictures}",
            do="give whole numbers",
        )
    given = {name: Path(plain[name]) if plain[name] else None for name in ("against", "image", "probabilities")}
    prediction = Path(plain["prediction"])
    return Comparison(
        prediction=prediction,
        reference=Path(plain["reference"]),
        output=Path(plain["output"]) if plain["output"] else _beside(prediction),
        labels=plain["labels"],
        ignore=plain["ignore"],
        groups=[figures] if isinstance(figures, str) else figures,
        tolerance_mm=plain["tolerance_mm"],
        lesion_overlap=plain["lesion_overlap"],
        workers=workers,
        pictures=pictures,
        overwrite=plain["overwrite"],
        **given,
    )


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


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


def _with_progress(cases: Sequence[CaseFiles], judged: Iterable[Judged]) -> Iterator[Judged]:
    from segfocal.engine.progress import StepProgress

    with StepProgress(total=len(cases), done=0) as progress:
        for done, case in enumerate(judged, start=1):
            yield case
            progress.step(done, "cases judged")


def _print_summary(rows: list[Row]) -> None:
    """Print a line for each structure: cases, those that are not in both masks, and means with intervals."""
    from segfocal.evaluate.summary import FIGURES, summarise

    lines = []
    for line in summarise(rows):
        odd = [
            f"{count} {status}".replace("_", " ") for status, count in line.statuses.items() if count and status != "ok"
        ]
        shown: Row = {"structure": line.structure, "cases": str(line.cases), "of these": "\n".join(odd)}
        for figure in FIGURES:
            if figure.name in _SUMMARISED and figure.name in line.figures:
                spread = line.figures[figure.name]
                interval = "" if spread.low is None else f"\n{spread.low:.3f} to {spread.high:.3f}"
                shown[figure.title + f" {figure.unit}" * bool(figure.unit)] = f"{spread.mean:.3f}{interval}"
        lines.append(shown)
    if lines:
        print("mean over cases and its 95 % bootstrap interval")
        print_table(lines)


def print_table(rows: list[dict[str, Any]]) -> None:
    """Print rows of figures as a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for name in rows[0]:
        table.add_column(name, justify="left" if isinstance(rows[0][name], str) else "right")
    for row in rows:
        table.add_row(*[f"{value:.3f}" if isinstance(value, float) else str(value) for value in row.values()])
    console = Console(width=None if Console().is_terminal else 160)
    console.print(table)
