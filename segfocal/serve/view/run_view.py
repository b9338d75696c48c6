"""From a folder of results to a server that listens: evaluations → cases → socket → address printed."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from segfocal.errors import UserError
from segfocal.evaluate.evaluated import Evaluated, is_evaluated, read_evaluated
from segfocal.serve.address import Address
from segfocal.serve.listening import answer, listening, printed
from segfocal.serve.view.view_routes import Viewing, build_view
from segfocal.serve.view.viewed_cases import ViewedCases
from segfocal.serve.worker import Worker

_WAITING = 64  # requests


@dataclass(frozen=True, kw_only=True)
class ViewOptions(Address):
    """What is looked at, and where the server listens.

    Args:
        results: an evaluation, or a folder that holds some: of auto, cross-validate, the demo, a run.
        images: scans of cases whose evaluation knows none; None for none.
    """

    results: Path
    images: Path | None = None


def view(options: ViewOptions, *, say: Callable[[str], Any]) -> None:
    """Listen until the process is told to end; `say` is given the address when requests are answered.

    Raises:
        UserError: no evaluation, one without cases, scans of which none fits, a port that is taken.
    """
    cases = ViewedCases(find_evaluations(options.results), options.images)
    with tempfile.TemporaryDirectory(prefix="segfocal_view_") as made, listening(options) as place:
        here = replace(options, port=place.getsockname()[1])
        key = here.key or secrets.token_urlsafe()
        title = options.results.resolve().name
        viewing = Viewing(cases=cases, title=title, made=Path(made), worker=Worker(_WAITING))
        answer(build_view(viewing, here, key=key), place, ready=lambda: say(printed(here, key)))


def find_evaluations(results: Path) -> list[Evaluated]:
    """Return the evaluation in a folder, or those in the folders below it.

    Raises:
        UserError: none.
    """
    places = evaluations_in(results)
    if not places:
        raise UserError(
            expected="an evaluation, or a folder of auto, cross-validate, demo or train with one in it",
            found="nothing there" if not results.exists() else "none",
            where=results,
            do="run: segfocal evaluate prediction=… reference=… image=…, and name its output",
        )
    return [read_evaluated(place) for place in places]


def evaluations_in(results: Path) -> list[Path]:
    """Return the folder where an evaluation lies in it, else those below it that hold one."""
    if is_evaluated(results):
        return [results]
    below = [*results.glob("[!.]*"), *results.glob("[!.]*/evaluation")] if results.is_dir() else []
    return sorted(place for place in below if place.is_dir() and is_evaluated(place))
