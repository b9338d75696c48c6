"""`segfocal compare`: runs side by side, as a table, plots and one page; also at the end of every multirun."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.experimental.callback import Callback

from segfocal.cli.app import place, run_plainly, shown_path
from segfocal.errors import UserError
from segfocal.plain_text import visible

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from segfocal.compare.ranking import Setting

_MOST_LINES = 12


def main() -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(prog="segfocal compare", description="Compare runs: a table, plots, one page.")
    parser.add_argument("runs", nargs="+", type=place, help="run directories, or folders of them such as a multirun's")
    parser.add_argument("--output", type=place, help="folder for the results; default: comparison in the first of RUNS")
    parser.add_argument("--overwrite", action="store_true", help="replace files there that are no comparison's")
    asked = parser.parse_args()
    output = asked.output or asked.runs[0] / "comparison"
    return run_plainly(lambda: write(asked.runs, output, overwrite=asked.overwrite))


def write(places: list[Path], output: Path, *, overwrite: bool = False) -> list[Setting]:
    """Write a comparison of the runs at `places`, print the best settings, and return all, best first."""
    from segfocal.compare.page import compare

    settings = compare(places, output, overwrite=overwrite)
    for setting in settings[:_MOST_LINES]:
        done = sum(run.finished for run in setting.runs)
        mean, sd = setting.metrics.get("dice", (float("nan"), None))
        spread = "" if sd is None else f" ± {sd:.3f}"
        line = f"Dice {mean:.3f}{spread}  {setting.label}  ({done} of {len(setting.runs)} runs)"
        print(visible(line, lines=False))
    if len(settings) > _MOST_LINES:
        print(f"and {len(settings) - _MOST_LINES} settings more")
    print(f"comparison: {shown_path(output.resolve() / 'compare.html')}")
    return settings


class AfterMultirun(Callback):
    """Compares the runs of a multirun when the last has ended, whichever launcher ran them."""

    failed = 0  # runs without a result in the last multirun, for the exit code

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Write the comparison into the multirun's folder."""
        from segfocal.compare.runs import read_runs, refused

        if config.train.get("dry_run") is True or os.environ.get("RANK", "0") != "0":
            return
        folder = Path(config.hydra.sweep.dir)
        try:
            runs = read_runs([folder])
            write([folder], folder / "comparison")
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            AfterMultirun.failed = 1
            return
        AfterMultirun.failed = sum(not run.finished for run in runs)
        for text in refused(folder):
            AfterMultirun.failed += 1
            print(visible(f"refused: {text}"), file=sys.stderr)
        for run in runs:
            if not run.finished:
                said = f"no result: {shown_path(run.folder.resolve())}: {run.error or run.status}"
                print(visible(said), file=sys.stderr)
