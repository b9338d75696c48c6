"""`segfocal evaluate`: a mask and its reference in, figures out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from segfocal.cli.app import run


def main() -> int:
    """Run the command; return its exit code."""
    return run("evaluate", evaluate)


def evaluate(config: DictConfig) -> None:
    """Compare two masks by a config, print the table and say where the files are."""
    from segfocal.serve.evaluate import Comparison
    from segfocal.serve.evaluate import evaluate as evaluate_masks
    from segfocal.serve.predict import report_path

    plain: Any = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    prediction = Path(plain["prediction"])
    default = report_path(prediction).with_suffix("")
    output = Path(plain["output"]) if plain["output"] else default.with_name(f"{default.name}_evaluation")
    comparison = Comparison(
        prediction=prediction,
        reference=Path(plain["reference"]),
        output=output,
        labels=plain["labels"],
        image=Path(plain["image"]) if plain["image"] else None,
        overwrite=plain["overwrite"],
    )
    print_table(evaluate_masks(comparison))
    print(f"{output / 'metrics.csv'}")


def print_table(rows: list[dict[str, Any]]) -> None:
    """Print rows of figures as a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for name in rows[0]:
        table.add_column(name, justify="left" if isinstance(rows[0][name], str) else "right")
    for row in rows:
        table.add_row(*[f"{value:.3f}" if isinstance(value, float) else str(value) for value in row.values()])
    console = Console(width=None if Console().is_terminal else 140)
    console.print(table)
