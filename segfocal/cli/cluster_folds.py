"""The folds of a cross-validation trained by the workers of a cluster, each of them a piece of work."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from segfocal.cli.resume import RunRequest
from segfocal.cli.train import train_in
from segfocal.cli.training_plan import build_plan
from segfocal.cluster.cluster import started
from segfocal.cluster.cluster_settings import ClusterSettings
from segfocal.errors import UserError
from segfocal.plain_text import visible


@dataclass(frozen=True, kw_only=True, eq=False)
class FoldTrainer:
    """Makes a worker ready to train folds.

    Args:
        configs: of training, one a fold.
        output: the folder of the cross-validation, in which fold_0 … lie.
        folder: in which the command was given; relative paths begin there.
    """

    configs: tuple[DictConfig, ...]
    output: Path
    folder: Path

    def __call__(self) -> Callable[[int], None]:
        """Return what trains a fold by its number."""
        os.chdir(self.folder)
        return self.train

    def train(self, fold: int) -> None:
        """Train a fold, or go on where it was, or find it finished."""
        request = RunRequest(folder=self.output / f"fold_{fold}", overwrite=False, automatic=True)
        train_in(build_plan(self.configs[fold]), request)


def train_folds(trainer: FoldTrainer, settings: ClusterSettings) -> None:
    """Have every fold trained by the workers of a cluster; a fold that fails stops none of the others.

    Raises:
        UserError: folds that failed, each with why; a cluster that cannot be used.
    """
    failed = {}
    with started(settings) as cluster:
        folds = range(len(trainer.configs))
        for outcome in cluster.run(trainer, folds, folders=[trainer.folder, trainer.output], say=_say):
            if outcome.failure is not None:
                failed[outcome.item] = outcome.failure
            _say(f"fold {outcome.item}: {outcome.failure or f'trained in {outcome.seconds:.0f} s on {outcome.node}'}")
    if failed:
        raise UserError(
            expected=f"{len(trainer.configs)} folds trained",
            found=f"{len(failed)} that failed, fold {min(failed)}: {failed[min(failed)]}",
            where=trainer.output,
            do="mend that; the same command trains only what is missing",
        )


def _say(line: str) -> None:
    print(visible(line, lines=False), flush=True)
