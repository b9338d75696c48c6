"""A progress bar on a terminal, plain lines everywhere else."""

from __future__ import annotations

import sys
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from segfocal.plain_text import visible


class StepProgress:
    """Shows the steps of a run; `note` prints a line that stays.

    Args:
        total: steps in all.
        done: steps made before.
        silent: show nothing, as processes do that are not the main one.
        noun: what is counted; a count that jumps over a tenth, as seconds do, is printed when it is past it.
    """

    def __init__(self, *, total: int, done: int, silent: bool = False, noun: str = "step") -> None:
        self.console = Console(file=sys.stdout, quiet=silent, highlight=False, markup=False)
        self.bar: Progress | None = None
        if self.console.is_terminal and not silent:
            text = TextColumn("{task.description}", markup=False)  # [red] in a name is no colour
            columns = (BarColumn(), MofNCompleteColumn(), text, TimeRemainingColumn())
            self.bar = Progress(*columns, console=self.console)
            self.task = self.bar.add_task("", total=total, completed=done)
        self.total, self.every, self.noun = total, max(1, total // 10), noun
        self.next = self._tenth_after(done)

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
            self.bar.update(self.task, completed=done, description=visible(text, lines=False))
        elif done >= min(self.next, self.total):
            self.console.print(f"{self.noun} {done}/{self.total}  {visible(text, lines=False)}")
            self.next = self._tenth_after(done)

    def _tenth_after(self, done: int) -> int:
        return (done // self.every + 1) * self.every

    def note(self, text: str) -> None:
        """Print a line that stays above the bar."""
        self.console.print(visible(text), soft_wrap=True)


class CaseProgress:
    """Shows cases being prepared, from the first that is: nothing where all were before."""

    def __init__(self, *, silent: bool = False) -> None:
        self.silent = silent
        self.shown: StepProgress | None = None

    def __enter__(self) -> CaseProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.shown:
            self.shown.__exit__(kind, error, trace)

    def __call__(self, done: int, total: int, text: str) -> None:
        """Show that `done` cases of `total` are prepared; the first call says what they will take."""
        if self.shown is None:
            self.shown = StepProgress(total=total, done=done, silent=self.silent, noun="case").__enter__()
            self.shown.note(f"preparing {total} case{'s' * (total > 1)}: {text}")
        else:
            self.shown.step(done, text)
