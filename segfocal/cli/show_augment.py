"""`segfocal show-augment`: a picture of the samples of a training step, as read and as augmented."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from segfocal.cli.app import fitting_together, run, shown_path
from segfocal.cli.data_options import (
    cases_of,
    channels_of,
    check_batch_fits,
    grid_of,
    intensity_of,
    neighbours_of,
    sides,
)
from segfocal.cli.geometry_options import with_geometry
from segfocal.cli.settling import imported
from segfocal.cli.targets import build
from segfocal.errors import UserError

if TYPE_CHECKING:
    from segfocal.batch import Batch
    from segfocal.data.case import CaseList
    from segfocal.report.sample_picture import SamplePair


def main() -> int:
    """Run the command; return its exit code."""
    return run("show_augment", show_augment)


def show_augment(config: DictConfig) -> None:
    """Prepare the training cases of a config, draw the samples of a step, and print where."""
    from segfocal.files import check_new

    plain: Any = OmegaConf.to_container(with_geometry(config), resolve=True, throw_on_missing=True)
    _check(plain)
    output = Path(plain["output"])
    check_new(output, overwrite=plain["overwrite"])
    with fitting_together():
        _draw(plain, output)
    print(f"picture: {shown_path(output)}")


def _check(plain: dict[str, Any]) -> None:
    """Raise UserError unless counts are counts and the picture a PNG."""
    for key, least in (("samples", 1), ("columns", 1), ("seed", 0), ("step", 0)):
        if type(plain[key]) is not int or plain[key] < least:
            raise UserError(expected=f"{key} to be a whole number ≥ {least}", found=repr(plain[key]), do="change it")
    if Path(plain["output"]).suffix.lower() != ".png":
        raise UserError(expected="output to be a .png file", found=str(plain["output"]), do="change its name")


def claim_picture(output: Path, cases: CaseList, data: Mapping[str, Any], *, overwrite: bool) -> None:
    """Raise UserError where the picture would replace a file unasked or, whatever overwrite says, one that is read.

    Args:
        output: the picture.
        cases: all there are, other parts' too.
        data: the options of the data, which name what lists, names and parts them.
        overwrite: whether a file that is there may be replaced.
    """
    from segfocal.data.cases import files_read
    from segfocal.files import claim

    read = files_read(cases.cases, data["root"], data.get("label_names"), data.get("splits"))
    claim([output], read, overwrite=overwrite)


def _draw(plain: dict[str, Any], output: Path) -> None:
    from segfocal.augment import Augment
    from segfocal.data.mask_files import with_target
    from segfocal.data.sampling.dataset import Sampling, SliceDataset, Steps, load
    from segfocal.data.store.prepare import prepare
    from segfocal.data.store.prepared_case import Preparation, check_foreground
    from segfocal.report.sample_picture import draw_samples

    data = plain["data"]
    window = sides(data["window"], "data.window", int)
    augment = build(plain["augment"], imports=imported(plain))
    crop = (*window[:-2], *(round(side * data["margin"]) for side in window[-2:]))
    sampling = Sampling(foreground=data["foreground"], crop=crop, neighbours=neighbours_of(data))
    cases, structures = with_target(*cases_of(plain), by_object=False)
    preparation = Preparation(
        grid=grid_of(data, cases), intensity=intensity_of(plain["intensity"], cases), structures=structures
    )
    claim_picture(output, cases, data, overwrite=plain["overwrite"])
    check_batch_fits(plain["samples"], channels_of(cases) * (2 * sampling.neighbours + 1), window)
    prepared = prepare(cases.of("train"), preparation, Path(plain["cache"]))
    check_foreground(prepared, structures, where=Path(data["root"]))
    steps = Steps(seed=plain["seed"], first=plain["step"], last=plain["step"] + 1, batch_size=plain["samples"])
    dataset = SliceDataset(prepared, len(structures), sampling)
    (batch,) = load(dataset, steps, workers=0, pin=False)
    spacing = preparation.grid.spacing_mm
    draw_samples(
        output,
        _shown(Augment()(batch, size=window), augment(batch, size=window)),
        names=[structure.name for structure in structures],
        columns=plain["columns"],
        aspect=spacing[-2] / spacing[-1] if spacing else 1.0,
        heading=f"{_settings(plain['augment'])}\nstep {plain['step']} of seed {plain['seed']}",
    )


def _shown(read: Batch, augmented: Batch) -> list[SamplePair]:
    """Return each sample twice: its middle channel, of a volume its middle slice."""
    from segfocal.report.sample_picture import SamplePair

    parts = [read.image, read.target, augmented.image, augmented.target]
    if read.image.ndim == 5:
        parts = [part[:, :, part.shape[2] // 2] for part in parts]
    image, target, augmented_image, augmented_target = (part.cpu().numpy() for part in parts)
    middle = image.shape[1] // 2
    return [
        SamplePair(
            image=image[i, middle],
            target=target[i],
            augmented_image=augmented_image[i, middle],
            augmented_target=augmented_target[i],
            title=str(origin),
        )
        for i, origin in enumerate(read.origins)
    ]


def _settings(augment: dict[str, Any]) -> str:
    """Return the settings that are on, as a line."""
    named = {
        key: value for key, value in augment.items() if isinstance(value, int | float) and value and key != "_target_"
    }
    on = [f"{key} {value:g}" for key, value in named.items() if not key.endswith(("_sigma", "_factor"))]
    on += [f"flip {','.join(augment['flip'])}"] if augment.get("flip") else []
    return ", ".join(on) or str(augment["_target_"])
