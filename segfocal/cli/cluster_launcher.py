"""Hydra's launcher of `train -m … cluster=ray`: each job of a sweep is a piece of work of a cluster.

A job that fails is marked in its folder and the others go on, as with any launcher; so is one whose worker died.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import nan
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, configure_log, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from segfocal.cluster.cluster import started
from segfocal.cluster.cluster_settings import ClusterSettings
from segfocal.compare.runs import note_failure
from segfocal.plain_text import visible

NAME = "hydra_plugins.segfocal.ClusterLauncher"  # Hydra makes plug-ins of this package only


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job of a sweep: its number and its options."""

    number: int
    overrides: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class JobRunner:
    """Makes a worker ready for jobs of a sweep.

    Args:
        context: Hydra's, of the sweep.
        task: what each job calls.
        config: of the sweep.
        state: of Hydra's singletons.
        arguments: the command line, which runs write down.
        folder: in which the command was given; relative paths begin there.
    """

    context: HydraContext
    task: TaskFunction
    config: DictConfig
    state: dict[Any, Any]
    arguments: tuple[str, ...]
    folder: Path

    def __call__(self) -> Callable[[Job], JobReturn]:
        """Return what does a job."""
        os.chdir(self.folder)
        sys.argv = list(self.arguments)
        return self.run

    def run(self, job: Job) -> JobReturn:
        """Do a job as Hydra does it in its own process."""
        setup_globals()
        Singleton.set_state(self.state)
        config = self.config_of(job)
        HydraConfig.instance().set_config(config)
        return run_job(
            hydra_context=self.context,
            task_function=self.task,
            config=config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )

    def config_of(self, job: Job) -> DictConfig:
        """Return the config of a job."""
        config = self.context.config_loader.load_sweep_config(self.config, list(job.overrides))
        with open_dict(config):
            config.hydra.job.id = config.hydra.job.num = job.number
        return config

    def folder_of(self, job: Job) -> Path:
        """Return the folder of a job."""
        sweep = self.config_of(job).hydra.sweep
        return self.folder / str(sweep.dir) / str(sweep.subdir)


class ClusterLauncher(Launcher):
    """Has the jobs of a sweep done by the workers of a cluster."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what every job needs, as Hydra hands it to a launcher."""
        self.config = config
        self.runner = JobRunner(
            context=hydra_context,
            task=task_function,
            config=config,
            state=Singleton.get_state(),
            arguments=tuple(sys.argv),
            folder=Path.cwd(),
        )

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Do jobs; return what each gave, NaN for one that failed.

        Args:
            job_overrides: the options of each.
            initial_job_idx: the number of the first.
        """
        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        Path(str(self.config.hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)
        options: Any = OmegaConf.to_container(self.config.cluster, resolve=True)
        settings = ClusterSettings.of(options, imports=OmegaConf.to_object(self.config.imports))  # type: ignore[arg-type]
        jobs = [Job(number=initial_job_idx + n, overrides=tuple(given)) for n, given in enumerate(job_overrides)]
        results = {}
        with started(settings) as cluster:
            for outcome in cluster.run(self.runner, jobs, folders=[self.runner.folder], say=_say):
                job = outcome.item
                if outcome.result is None:
                    note_failure(self.runner.folder_of(job), job.overrides, str(outcome.failure))
                results[job.number] = outcome.result or JobReturn(
                    overrides=job.overrides, status=JobStatus.COMPLETED, _return_value=nan
                )
                _say(f"job {job.number}: {' '.join(job.overrides)}: {outcome.failure or f'{outcome.seconds:.0f} s'}")
        return [results[job.number] for job in jobs]


def _say(line: str) -> None:
    print(visible(line, lines=False), flush=True)


def launch_by(config: DictConfig) -> None:
    """Have the jobs of a sweep's config launched by the cluster that it names."""
    Plugins.instance().class_name_to_class[NAME] = ClusterLauncher
    with open_dict(config):
        config.hydra.launcher = {"_target_": NAME}
