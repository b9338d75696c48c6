"""Training for Python programs: the options of `segfocal train` in, the run's summary out."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from segfocal.cli.composed import composed
from segfocal.cli.geometry_options import run_to_resume, with_geometry
from segfocal.cli.resume import AUTO, RunRequest
from segfocal.cli.train import train_by
from segfocal.errors import UserError


def train(options: Sequence[str] | Mapping[str, Any] | str = (), *, folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Train a model, leave the run in a folder, and return its summary, what `summary.json` there says.

    The same options train the same model by `segfocal train OPTIONS hydra.run.dir=FOLDER`. The bundle is
    `folder`/bundle.

    Args:
        options: as on the command line, ["loss=focal", "target=[liver,spleen]"], or by name with Python's values,
            {"loss": "focal", "target": ["liver", "spleen"], "train.minutes": 5}. `resume=auto` goes on with what lies
            in the folder; `overwrite=true` replaces it.
        folder: the run directory.

    Raises:
        UserError: an option that is not there or out of range, data that cannot be used, a folder that holds a run.
    """
    asked = composed("train", [options] if isinstance(options, str) else options)
    config, place = asked.config, Path(folder).expanduser().resolve()
    if config.train.dry_run is True:
        raise UserError(
            expected="train.dry_run=false in Python", found="train.dry_run=true", do="ask by segfocal train for it"
        )
    request = RunRequest(
        folder=place,
        overwrite=config.overwrite,
        automatic=config.resume == AUTO,
        overrides=asked.overrides,
        choices=asked.choices,
    )
    return train_by(with_geometry(config, resumes=run_to_resume(config.resume, place)), request)
