"""`segfocal view`: scans with reference and prediction of an evaluation, the worst first, in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from segfocal.cli.app import run, shown_path
from segfocal.cli.serve import check_extra
from segfocal.errors import UserError
from segfocal.plain_text import visible

if TYPE_CHECKING:
    from segfocal.serve.view.run_view import ViewOptions

JUDGED = "validation"  # of a run: masks of its validation cases, and their evaluation


def main() -> int:
    """Run the command; return its exit code."""
    return run("view", view)


def view(config: DictConfig) -> None:
    """Serve what a config names until the process is told to end; a training run is judged first, once."""
    check_extra()
    from segfocal.serve.view.run_view import evaluations_in
    from segfocal.serve.view.run_view import view as listen

    options = view_options(OmegaConf.to_container(config, resolve=True, throw_on_missing=True))
    run_config = options.results / "config.yaml"
    if run_config.is_file() and (options.results / "bundle").is_dir() and not evaluations_in(options.results):
        judge_run(options.results)
    listen(options, say=lambda line: print(visible(line), flush=True))


def view_options(plain: Any) -> ViewOptions:
    """Return the checked record of a config's options."""
    from segfocal.serve.view.run_view import ViewOptions

    return ViewOptions(
        results=Path(plain["input"]),
        images=Path(plain["image"]) if plain["image"] else None,
        host=plain["host"],
        port=plain["port"],
        key=plain["key"],
    )


def judge_run(folder: Path) -> None:
    """Segment the validation cases of a training run by its bundle, and judge them, in a folder of the run.

    Raises:
        UserError: a run without validation cases, or of a model that needs prompts; cases that are not there any more.
    """
    from segfocal.cli.data_options import cases_of
    from segfocal.cross_validate.results import OutOfFold, predict_and_judge
    from segfocal.data.mask_files import with_target
    from segfocal.foreign import door
    from segfocal.inference import bundle as bundles

    file = folder / "config.yaml"
    text = door.read_text(file, expected="the config of a run", limits=door.SETTINGS)
    cases, structures = cases_of(door.parse_yaml(text, where=file))
    cases, _ = with_target(cases, structures, by_object=False)
    held_out, bundle = cases.of("val"), bundles.load(folder / "bundle")
    if not held_out or bundle.needs_prompts:
        raise UserError(
            expected="a run with validation cases, and a model that answers without a prompt",
            found="a model that needs prompts" if held_out else "no validation case",
            where=folder,
            do="predict and evaluate scans of your choice, then view that evaluation",
        )
    place = folder / JUDGED
    print(f"segmenting {len(held_out)} validation case{'s' * (len(held_out) > 1)} into {shown_path(place)}", flush=True)
    judged = [OutOfFold(case=case, bundle=folder / "bundle", fold=0) for case in held_out]
    predict_and_judge(judged, bundle, place, ignored=cases.ignored)
