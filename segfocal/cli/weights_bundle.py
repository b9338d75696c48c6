"""`segfocal weights bundle`: a bundle of weights as they are, for a promptable model without training it further."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segfocal.cli.app import conf_folder, place, shown_path
from segfocal.errors import UserError
from segfocal.plain_text import visible

if TYPE_CHECKING:
    from segfocal.models import PromptableModel
    from segfocal.structure import Structure

_SIDE = 256  # pixels of the windows, for models that come in several sizes


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument("model", help="a promptable model of conf/model, as lite_medsam")
    parser.add_argument("output", type=place, help="the bundle's folder")
    parser.add_argument(
        "--structure", action="append", required=True, metavar="NAME:VALUE", help="liver:5; once for each structure"
    )
    parser.add_argument("--weights", default="auto", help="a weight file; auto: the published ones in your cache")
    parser.add_argument(
        "--spacing-mm", type=float, default=2.0, help="of a pixel the model sees (2.0); a body should fill its window"
    )
    parser.add_argument("--intensity", default="ct_soft_tissue", help="one of conf/intensity (ct_soft_tissue)")
    parser.add_argument("--frame", default="SPL", help="slices along the first letter (SPL: axial slices)")
    parser.add_argument(
        "--image-size", type=int, default=_SIDE, help=f"pixels of a window ({_SIDE}), if free to choose"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a bundle that is there")


def write(asked: argparse.Namespace) -> None:
    """Write a bundle of a promptable model with given weights, and say what it is for.

    Raises:
        UserError: an unknown model or intensity, a malformed structure, weights that are not there or do not fit, a
            bundle that exists.
    """
    from segfocal import intensity
    from segfocal.files import claim
    from segfocal.inference import bundle as bundles
    from segfocal.resample import ModelGrid

    structures = _structures(asked.structure)
    own = [] if asked.weights == "auto" else [Path(asked.weights)]
    own += [file for folder in own if folder.is_dir() for file in folder.iterdir()]
    claim([asked.output / name for name in bundles.FILES], own, overwrite=asked.overwrite, switch="--overwrite")
    try:
        grid = ModelGrid(frame=asked.frame, spacing_mm=(asked.spacing_mm, asked.spacing_mm))
        seen = intensity.build(_config("intensity", asked.intensity, asked.image_size))
        config = _config("model", asked.model, asked.image_size)
        config.pop("weights", None)
        model, facts = _model(config, asked)
    except (ValueError, TypeError) as error:
        raise UserError(expected="options that fit together", found=str(error), do="change that option") from error
    bundle = bundles.Bundle(
        model=model,
        model_config=config,
        grid=grid,
        window=(model.image_size, model.image_size),
        intensity=seen,
        structures=structures,
        training={"steps": 0, "weights": facts},
        needs_prompts=True,
    )
    bundles.save(bundle, asked.output)
    names = ", ".join(f"{structure.name} {structure.value}" for structure in structures)
    print(f"bundle:     {shown_path(asked.output.resolve())}, for prompts of {names}")
    print(f"sees:       {asked.spacing_mm:g} mm a pixel, windows of {model.image_size}×{model.image_size}")


def _model(config: dict[str, Any], asked: argparse.Namespace) -> tuple[PromptableModel, dict[str, Any]]:
    """Return the model with its weights, and where these are from."""
    from segfocal import models
    from segfocal.models.weights import PUBLISHED, published_weights, read
    from segfocal.models.weights.matching import source_of

    if asked.weights == "auto" and asked.model not in PUBLISHED:
        raise UserError(
            expected=f"--weights FILE for other models than {', '.join(PUBLISHED)}, whose weights are published",
            found=asked.model,
            do="add --weights FILE",
        )
    path = published_weights(asked.model) if asked.weights == "auto" else Path(asked.weights)
    if "correction_decoder" in config:
        config["correction_decoder"] = any(source_of(name) != name for name in read(path).tensors)
    model = models.build(config)
    if not isinstance(model, models.PromptableModel):
        raise ValueError(f"expected a promptable model, as lite_medsam; got {asked.model}")
    report = models.load_weights(model, path, allow=["output_bias"] if model.prior is not None else [])
    print(visible(str(report)))
    return model, report.row()


def _config(group: str, name: str, side: int) -> dict[str, Any]:
    """Return a YAML of the config tree as it stands, with windows of `side` pixels."""
    from omegaconf import OmegaConf

    file = conf_folder() / group / f"{name}.yaml"
    if not file.is_file():
        known = ", ".join(sorted(path.stem for path in file.parent.glob("*.yaml")))
        raise UserError(expected=f"{group} of {known}", found=name, do="choose one of these")
    whole = OmegaConf.create({"data": {"window": [side, side]}, "chosen": OmegaConf.load(file)})
    plain: Any = OmegaConf.to_container(whole.chosen, resolve=True)
    return dict(plain)


def _structures(listed: Sequence[str]) -> tuple[Structure, ...]:
    from segfocal.structure import Structure

    found = []
    for text in listed:
        name, _, value = text.rpartition(":")
        if not name or not value.isdecimal() or int(value) == 0:
            raise UserError(
                expected="--structure NAME:VALUE with a label value above 0", found=text, do="write it as liver:5"
            )
        found.append(Structure(name=name, value=int(value)))
    if len({s.name for s in found}) < len(found) or len({s.value for s in found}) < len(found):
        raise UserError(expected="different names and values", found=" ".join(listed), do="change --structure")
    return tuple(found)
