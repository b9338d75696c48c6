"""From options to a server that listens: bundle → model → scans and sessions → socket → address printed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from segfocal.folder_lock import only_one
from segfocal.inference import bundle as bundles
from segfocal.inference.ensemble import members_of
from segfocal.inference.predictor import Predictor
from segfocal.inference.segment import promptable
from segfocal.serve import training_folder
from segfocal.serve.http_app import Serving, build_app
from segfocal.serve.listening import answer, listening, printed
from segfocal.serve.mask import takes_prompts
from segfocal.serve.nninteractive.viewer_routes import viewer_routes
from segfocal.serve.options import ServeOptions
from segfocal.serve.sessions import keep_key
from segfocal.writable import check_writable


def serve(options: ServeOptions, *, say: Callable[[str], Any]) -> None:
    """Listen until the process is told to end; `say` is given the address when requests are answered.

    Raises:
        UserError: no bundle, no scans, a port that is taken, a folder that cannot be written or is in use.
    """
    predictor = served(options)
    check_writable(options.output / training_folder.NAMES)
    with only_one(options.sessions, doing="serve sessions"), listening(options) as place:
        options.sessions.chmod(0o700)  # what was drawn on patients' scans is nobody else's
        here = replace(options, port=place.getsockname()[1])
        key = here.key or keep_key(here.sessions)
        serving = Serving.of(here, predictor)
        app = build_app(serving, key=key, more=[viewer_routes(serving)])
        answer(app, place, ready=lambda: say(printed(here, key)))


def served(options: ServeOptions) -> Predictor:
    """Return the model: of an ensemble, as `auto` leaves it, all its members, whose logits are averaged.

    Raises:
        UserError: no bundle, or several of a model that answers prompts.
    """
    loaded = [bundles.load(member) for member in members_of(options.bundle)]
    predictor = Predictor(loaded, sliding=options.sliding, device=options.device)
    if takes_prompts(predictor):
        promptable(predictor)
    return predictor
