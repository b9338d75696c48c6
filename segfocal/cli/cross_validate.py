"""`segfocal cross-validate`: labelled cases in, out-of-fold masks and metrics and one ensemble out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from segfocal.cli.app import run, shown_path
from segfocal.cli.data_options import cases_of, listed_cases
from segfocal.cli.evaluate import print_table
from segfocal.cli.geometry_options import with_geometry
from segfocal.cli.resume import RunRequest
from segfocal.cli.train import train_in
from segfocal.cli.training_plan import build_plan
from segfocal.errors import UserError
from segfocal.plain_text import visible

if TYPE_CHECKING:
    from segfocal.cross_validate.results import Outcome
    from segfocal.engine.plan import Plan

_WORDS: Mapping[str, Mapping[str, bool]] = {
    "threshold": {"auto": True, "half": False},
    "postprocess": {"auto": True, "none": False},
}
_OWN = ("output", "overwrite", "threshold", "postprocess")  # keys that a training run has not

_BEGUN = ".begun.json"  # by which a command knows a folder that it has begun to fill
_FILES = ("splits.json", "summary.json", "auto.json", "report.html")  # what this command and auto write
_FOLDERS = ("predictions", "references", "evaluation", "bundle", "race", "doctor")


def main() -> int:
    """Run the command; return its exit code."""
    return run("cross_validate", cross_validate)


def cross_validate(config: DictConfig) -> float:
    """Train and judge every fold of a config, print the out-of-fold metrics, return their mean Dice."""
    folder, switches = Path(str(config.output)), _switches(config)
    claim_folder(config, folder, command="cross-validate")
    training = with_geometry(training_config(config, folder), resumes=folder / "fold_0")
    folds = folds_of(training)
    check_folds(training, folds)
    print(f"{folds} fold{'s' * (folds > 1)} in {shown_path(folder.resolve())}", flush=True)
    outcome = validate_folds(training, folder, folds=folds, **switches)
    print_outcome(outcome, folder)
    return outcome.dice


def validate_folds(
    config: DictConfig, folder: Path, *, folds: int, threshold: bool = True, postprocess: bool = True
) -> Outcome:
    """Train each fold of a training config below `folder`, or go on there; judge and keep what comes of them.

    Args:
        config: of training, with `data.splits` in it.
        folder: for everything.
        folds: how many.
        threshold: whether thresholds are chosen out of fold.
        postprocess: whether rules are.
    """
    from segfocal.cross_validate.cross_validate import CrossValidation
    from segfocal.cross_validate.cross_validate import cross_validate as walk
    from segfocal.device import choose_device

    _train_on_cluster(config, folder, folds)

    def plan(fold: int) -> Plan:
        return build_plan(with_values(config, {"data.fold": fold}))

    def train(plan: Plan, place: Path) -> None:
        print(f"fold {place.name.removeprefix('fold_')}: {len(plan.cases.of('train'))} cases to train on", flush=True)
        train_in(plan, RunRequest(folder=place, overwrite=False, automatic=True))

    return walk(
        CrossValidation(
            folds=folds,
            plan=plan,
            train=train,
            folder=folder,
            device=choose_device(config.train.device),
            threshold=threshold,
            postprocess=postprocess,
        )
    )


def _train_on_cluster(config: DictConfig, folder: Path, folds: int) -> None:
    """Have the folds trained side by side where a config names a cluster; the walk then finds each finished."""
    from segfocal.cli.cluster_folds import FoldTrainer, train_folds
    from segfocal.cluster.cluster_settings import ClusterSettings

    plain: Any = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    settings = ClusterSettings.of(plain.get("cluster") or {}, imports=plain["imports"])
    if settings.kind == "none":
        return
    configs = tuple(with_values(config, {"data.fold": fold}) for fold in range(folds))
    train_folds(FoldTrainer(configs=configs, output=folder, folder=Path.cwd()), settings)


def claim_folder(config: DictConfig, folder: Path, *, command: str) -> None:
    """Mark a folder as one that a command fills, before any work, so that the same command goes on in it after a kill.

    Args:
        config: with `data` and `overwrite`.
        folder: to be filled.
        command: its name.

    Raises:
        UserError: a folder with files that are read, or with others' and no such mark, or that cannot be written to.
    """
    from segfocal.data.cases import files_read
    from segfocal.doctor.case_list import check_case_list
    from segfocal.files import check_apart, make_folder, read_json, write_json
    from segfocal.writable import check_writable

    check_writable(folder / _FILES[0])
    plain: Any = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    data = plain["data"]
    root = Path(data["root"])
    cases = check_case_list(root, label_names=data.get("label_names"), ignore=data.get("ignore")).cases
    read = files_read(cases, root, data.get("label_names"), data.get("splits"))
    folds = [f"fold_{number}" for number in range(data["folds"] if type(data["folds"]) is int else 0)]
    files = [name for name in _FILES if data.get("splits") != str(folder / name)]
    check_apart([folder / name for name in files], read, folders=[folder / name for name in (*_FOLDERS, *folds)])
    there = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    cache = Path(plain["cache"]).resolve()
    others = sorted(name for name in there if not name.startswith(".") and (folder / name).resolve() != cache)
    begun = (folder / _BEGUN).is_file() and read_json(folder / _BEGUN) == {"command": command}
    if others and not plain["overwrite"] and not begun:
        raise UserError(
            expected="a new or empty folder, or one that this command has begun to fill",
            found=f"one with {', '.join(others[:3])}{' …' if len(others) > 3 else ''}",
            where=folder,
            do="choose another output or add overwrite=true",
        )
    make_folder(folder)
    write_json(folder / _BEGUN, {"command": command})


def training_config(config: DictConfig, folder: Path) -> DictConfig:
    """Return the config of training, whose folds are kept in `folder` unless a file of splits is given."""
    kept = OmegaConf.masked_copy(config, [str(key) for key in config if key not in _OWN])
    if kept.data.splits is None:
        kept = with_values(kept, {"data.splits": str(folder / "splits.json"), "data.folds": _dealable(kept)})
    return kept


def with_values(config: DictConfig, values: Mapping[str, Any]) -> DictConfig:
    """Return a copy of a config with other values for dotted keys."""
    copy = config.copy()
    for key, value in values.items():
        OmegaConf.update(copy, key, value)
    return copy


def _dealable(config: DictConfig) -> int:
    """Return data.folds, or the number of cases (or groups of cases) where there are fewer."""
    plain: Any = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    wanted, cases = plain["data"]["folds"], listed_cases(plain["data"]).cases
    if type(wanted) is not int or wanted < 2:
        raise UserError(expected="data.folds ≥ 2", found=f"data.folds={wanted}", do="give a whole number")
    units = {case.group or case.name for case in cases if case.split != "test"}
    if len(units) < 2:
        raise UserError(
            expected="at least 2 cases, or groups of cases, to hold one out",
            found=f"{len(units)}",
            where=plain["data"]["root"],
            do="add cases, or train on the one without validation: data.hold_out=0",
        )
    if len(units) < wanted:
        print(f"note: {len(units)} cases or groups of cases, so {len(units)} folds: each is held out once", flush=True)
    return min(wanted, len(units))


def folds_of(config: DictConfig) -> int:
    """Return how many folds a training config has: those of its file of splits, if there is one yet."""
    from segfocal.data.splits import read_folds

    file = Path(str(config.data.splits))
    return len(read_folds(file)) if file.exists() else int(config.data.folds)


def check_folds(config: DictConfig, folds: int) -> None:
    """Raise UserError where a fold of a training config has nothing to learn a structure from; labels are counted."""
    from segfocal.cross_validate.fold_targets import check_fold_targets
    from segfocal.data.mask_files import with_target

    plain: Any = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    dealt = []
    for fold in range(folds):
        listed, structures = cases_of({**plain, "data": {**plain["data"], "fold": fold}})
        listed, structures = with_target(listed, structures, by_object=False)
        dealt.append(listed.of("train"))
    check_fold_targets(dealt, structures, cache=Path(plain["cache"]), where=Path(plain["data"]["root"]))


def _switches(config: DictConfig) -> dict[str, bool]:
    switches = {}
    for key, words in _WORDS.items():
        if config[key] not in words:
            expected = " or ".join(f"{key}={word}" for word in words)
            raise UserError(expected=expected, found=f"{key}={config[key]}", do="choose one")
        switches[key] = words[config[key]]
    return switches


def print_outcome(outcome: Outcome, folder: Path) -> None:
    """Print the out-of-fold metrics of every case, and where things are; of one case alone nothing was held out."""
    rows = [row for case in outcome.judged for row in case.rows()]
    columns = ("case", "structure", "dice", "precision", "recall", "hd95_mm", "status")
    print_table([{name: row[name] for name in columns if name in row} for row in rows])
    for choice in outcome.facts.get("thresholds", []):
        said = f"{visible(choice['structure'], lines=False)}: threshold {choice['threshold']:g}"
        print(f"{said}, Dice {choice['dice_at_half']:.3f} at 0.5, {choice['dice_nested']:.3f} chosen on other cases")
    if rows:
        print(f"mean Dice of cases by models that never saw them: {outcome.dice:.3f}")
        print(f"page:    {shown_path((folder / 'evaluation' / 'report.html').resolve())}")
    else:
        print("no case was held out, so no metrics are known")
    print(f"summary: {shown_path((folder / 'summary.json').resolve())}")
    print(f"bundle:  {shown_path((folder / 'bundle').resolve())}")
