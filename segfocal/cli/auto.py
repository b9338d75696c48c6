"""`segfocal auto`: a folder, a target and minutes in; a cross-validated model and a page about it out."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from segfocal.cli.app import run, shown_path
from segfocal.cli.cross_validate import (
    check_folds,
    claim_folder,
    folds_of,
    print_outcome,
    training_config,
    validate_folds,
    with_values,
)
from segfocal.cli.data_options import channels_of, intensity_of, listed_cases
from segfocal.cli.geometry_options import with_geometry
from segfocal.cli.resume import RunRequest
from segfocal.cli.settling import STAND_INS, is_auto, settle
from segfocal.cli.train import train_in
from segfocal.cli.training_plan import build_plan
from segfocal.errors import UserError
from segfocal.plain_text import visible
from segfocal.typed_words import line, option

if TYPE_CHECKING:
    from segfocal.auto.race import Heat
    from segfocal.auto.recipes import Recipe
    from segfocal.cross_validate.results import Outcome

_OWN = ("output", "overwrite", "minutes", "fix")
_QUICK = {"train.validate_every": 0, "train.save_minutes": 0.2}  # a fold may be of a minute, and be killed
_FAR_MM = 20.0  # of the fingerprint's background


def main() -> int:
    """Run the command; return its exit code."""
    return run("auto", auto)


def auto(config: DictConfig) -> float:
    """Find a recipe, train it on all folds, write bundle and page, print where they are, return the mean Dice."""
    from hydra.core.hydra_config import HydraConfig

    from segfocal.auto.auto import Auto
    from segfocal.auto.page import AutoFacts, write_auto_page
    from segfocal.writable import check_writable

    began, folder, minutes = time.monotonic(), Path(str(config.output)), _checked(config)
    typed = [text for text in HydraConfig.get().overrides.task if text.split("=", 1)[0] not in _OWN]
    check_writable(Path(str(config.cache)) / "any")  # for recipes that are not known yet
    claim_folder(config, folder, command="auto")
    data = Path(str(config.data.root)).resolve().name
    config, left_out = _sound(config, folder)
    workshop = ConfigWorkshop.of(config, typed, folder)
    asked = {"options": sorted(typed)}
    result = Auto(workshop, minutes=minutes, folder=folder, asked=asked, began=began, say=_say).run()
    place = shown_path((folder / "bundle").resolve())
    facts = AutoFacts(
        title=f"segfocal auto: {_target_words(config)}",
        data=data,
        minutes=minutes,
        fingerprint=workshop.fingerprint,
        left_out=left_out,
        command=line(["segfocal", "predict", option("bundle", place), "input=scan.nii.gz", "output=mask.nii.gz"]),
    )
    page = write_auto_page(folder, result, facts)
    print_outcome(result.outcome, folder)
    print(f"report:  {shown_path(page.resolve())}  ({result.seconds / 60:.1f} of {minutes:g} minutes)")
    return result.outcome.dice


def _checked(config: DictConfig) -> float:
    minutes = config.minutes
    if isinstance(minutes, bool) or not isinstance(minutes, int | float) or not 0 < minutes < float("inf"):
        raise UserError(expected="minutes > 0", found=f"minutes={minutes}", do="give a number, as minutes=60")
    if not isinstance(config.fix, bool):
        raise UserError(expected="fix=true or fix=false", found=f"fix={config.fix}", do="choose one")
    return float(minutes)


def _say(line: str) -> None:
    print(visible(line), flush=True)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"


def _target_words(config: DictConfig) -> str:
    target = OmegaConf.to_container(OmegaConf.create({"target": config.target}))["target"]  # type: ignore[index, call-overload]
    return ", ".join(map(str, target)) if isinstance(target, list) else str(target)


def _sound(config: DictConfig, folder: Path) -> tuple[DictConfig, dict[str, str]]:
    """Examine the cases; return the config with a list of sound ones in place of a root with broken ones, and why.

    Raises:
        UserError: broken cases without fix=true, or none left.
    """
    from segfocal.doctor.diagnose import diagnose
    from segfocal.doctor.diagnosis import Examination

    data, output = config.data, folder / "doctor"
    names: Any = OmegaConf.to_container(data)["label_names"]  # type: ignore[call-overload, index]
    examination = Examination(
        root=Path(str(data.root)), label_names=names, ignore=data.ignore, output=output, fix=config.fix, overwrite=True
    )
    diagnosis = diagnose(examination)
    errors = [finding for finding in diagnosis.findings if finding.severity == "error"]
    counted = f"{_counted(diagnosis.cases, 'case')} examined: {_counted(len(errors), 'error')}"
    _say(f"{counted}; {shown_path((output / 'doctor.html').resolve())}")
    if not errors:
        return config, {}
    if not config.fix:
        count = len({one.case for one in errors})
        shown = "; ".join(f"{one.case}: {one.found}" for one in errors[:3]) + (" …" if len(errors) > 3 else "")
        raise UserError(
            expected="cases without errors",
            found=f"errors in {count} of {diagnosis.cases} cases: {shown}",
            where=output / "doctor.html",
            do="mend them, or add fix=true: copies are mended, and what cannot be is left out and named",
        )
    left = dict(diagnosis.left_out)
    if len(left) >= diagnosis.cases:
        raise UserError(
            expected="a case that can be read or mended",
            found=f"none of {diagnosis.cases}",
            where=output / "doctor.html",
            do="look at the page: it says what is wrong with each",
        )
    named = output / "label_names.json"
    values = {"data.root": str(output / "cases.csv")}
    return with_values(config, values | ({"data.label_names": str(named)} if named.is_file() else {})), left


@dataclass(frozen=True, kw_only=True, eq=False)
class ConfigWorkshop:
    """Makes runs of recipes by composing configs.

    Args:
        base: what the user gave, without the keys of this command, as a training config.
        typed: what the user typed; it wins over a recipe.
        fingerprint: of the cases.
        folds: of the data, 1 for a single case.
        channels: of the images.
    """

    base: DictConfig
    typed: Sequence[str]
    fingerprint: Mapping[str, Any]
    folds: int
    channels: int

    @classmethod
    def of(cls, config: DictConfig, typed: Sequence[str], folder: Path) -> ConfigWorkshop:
        """Measure the data of a config and deal its folds."""
        base = OmegaConf.masked_copy(config, [str(key) for key in config if key not in _OWN])
        base = with_values(base, {"cache": str(config.cache)})  # named after `output`, which is no option of training
        base = with_geometry(base, quiet=True)
        plain: Any = OmegaConf.to_container(base, resolve=True, throw_on_missing=True)
        listed, folds = listed_cases(plain["data"]), 1
        if len(listed.cases) > 1 or base.data.splits is not None:
            base = training_config(base, folder)
            folds = folds_of(base)
            check_folds(base, folds)
        else:
            _say("note: one case alone: it trains, nothing is held out, and nothing can be known about another scan")
            base = with_values(base, {"data.folds": None, "data.hold_out": 0.0})
        return cls(base=base, typed=typed, fingerprint=fingerprint_of(plain), folds=folds, channels=channels_of(listed))

    def recipes(self) -> list[Recipe]:
        """Return what to try, the simplest first; of a single case, which cannot judge, the first alone."""
        from segfocal.auto.recipes import recipes_for

        pictures = self.base.data.spacing_mm is None
        found = recipes_for(self.fingerprint, pictures=pictures, channels=self.channels)
        return found if self.folds > 1 else found[:1]

    def heat(self, recipe: Recipe, fold: int, minutes: float, folder: Path) -> Heat:
        """Train a recipe without a fold for some minutes, and judge it by that fold.

        Args:
            recipe: what to train.
            fold: which is held out.
            minutes: of training.
            folder: of the run.
        """
        from segfocal.auto.race import Heat

        started = time.monotonic()
        config = with_values(self._config(recipe, minutes), {"data.fold": fold})
        summary = train_in(build_plan(config), RunRequest(folder=folder, overwrite=False, automatic=True))
        scores = [score for score in summary["scores"] if score["prompt"] == "none"]
        return Heat(
            recipe=recipe.name,
            fold=fold,
            minutes=minutes,
            dice=fmean(score["dice"] for score in scores) if scores else 0.0,
            steps=summary["steps"],
            overhead=max(0.0, time.monotonic() - started - 60 * minutes),
        )

    def cross_validate(self, recipe: Recipe, minutes: float, folder: Path) -> Outcome:
        """Train a recipe for some minutes a fold, judge out of fold, leave an ensemble in `folder`/bundle."""
        return validate_folds(self._config(recipe, minutes), folder, folds=self.folds)

    def _config(self, recipe: Recipe, minutes: float) -> DictConfig:
        """Return the training config of a recipe, with the user's data, target and seed."""
        from hydra import compose

        from segfocal.auto.recipes import overrides

        chosen = overrides(recipe.options, self.typed)
        composed = compose(config_name="train", overrides=[*_with_data(self.typed), *chosen])
        OmegaConf.set_struct(composed, False)
        kept: dict[str, Any] = {"cache": self.base.cache}
        kept |= {"data": {key: self.base.data[key] for key in ("root", "label_names", "folds", "splits", "hold_out")}}
        kept["data"] |= {key: self.base.data[key] for key in STAND_INS if is_auto(composed, key)}
        merged = OmegaConf.merge(composed, kept)
        assert isinstance(merged, DictConfig)
        settle(merged, "train", overrides=self.typed)
        return with_values(merged, {"train.minutes": minutes, **_QUICK})


def _with_data(typed: Sequence[str]) -> list[str]:
    """Return what was typed, with this command's kind of data where another was not chosen."""
    return [*typed] if any(text.startswith("data=") for text in typed) else ["data=folder", *typed]


def fingerprint_of(plain: dict[str, Any]) -> dict[str, Any]:
    """Measure the cases of a training config."""
    from segfocal.data.mask_files import with_target
    from segfocal.data.structures import choose_structures
    from segfocal.fingerprint.measure import MeasureOptions, measure_cases
    from segfocal.fingerprint.summary import summarise

    listed = listed_cases(plain["data"])
    structures = choose_structures(plain["target"], listed.label_values, overlap=bool(plain["data"].get("overlap")))
    listed, structures = with_target(listed, structures, by_object=False)
    options = MeasureOptions(
        structures=structures,
        frame=plain["data"]["frame"],
        intensity=intensity_of(plain["intensity"], listed),
        far_mm=_FAR_MM,
    )
    return summarise(list(measure_cases(listed.cases, options, workers=None)))
