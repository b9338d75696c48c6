"""A progress bar on a terminal, plain lines everywhere else."""

from __future__ import annotations

import sys
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class StepProgress:
    """Shows the steps of a run; `note` prints a line that stays."""

    def __init__(self, *, total: int, done: int, silent: bool = False) -> None:
        self.console = Console(file=sys.stdout, quiet=silent, highlight=False)
        self.bar: Progress | None = None
        if self.console.is_terminal and not silent:
            columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
            self.bar = Progress(*columns, console=self.console)
            self.task = self.bar.add_task("", total=total, completed=done)
        self.total, self.every = total, max(1, total // 10)

    def __enter__(self) -> StepProgress:
        if self.bar:
            self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar:
            self.bar.stop()

    def step(self, done: int, text: str) -> None:
        """Show that `done` steps are finished; without a terminal, print a line every tenth of the run."""
        if self.bar:
            self.bar.update(self.task, completed=done, description=text)
        elif done % self.every == 0 or done == self.total:
            self.console.print(f"step {done}/{self.total}  {text}")

    def note(self, text: str) -> None:
        """Print a line that stays above the bar."""
        self.console.print(text)
