"""The bundle: a folder with a trained model and everything needed to use it on a scan.

`model.safetensors` holds the weights, `bundle.json` the rest, `README.md` tells people of both. Loading one runs no
code of its author: weights are plain tensors and only models and intensities on the allow-lists are built.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_model, save_file
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_parameter_registration_hook,
)

import segfocal
from segfocal import intensity, intensity_statistics, models
from segfocal.errors import UserError
from segfocal.files import make_folder, sha256_of, write_json, written_beside
from segfocal.inference import postprocess
from segfocal.inference.bundle_facts import FORMAT, read_facts
from segfocal.inference.model_card import CARD, write_card
from segfocal.inference.postprocess import PostprocessRules
from segfocal.intensity import Intensity
from segfocal.intensity_statistics import Statistics
from segfocal.resample import ModelGrid
from segfocal.structure import Structure

_WEIGHTS, _FACTS = "model.safetensors", "bundle.json"
FILES = (_WEIGHTS, _FACTS, CARD)
ENSEMBLE_LIST = "ensemble.json"  # of a folder of several bundles; see ensemble.py
_LARGEST_SHARE = 4  # bytes of a model for each of its file: half precision, shared layers


@dataclass(frozen=True, kw_only=True, eq=False)
class Bundle:
    """A model with the facts that inference needs.

    Args:
        model: makes logits [b,k,*window] of images [b,c,*window].
        model_config: `_target_` and arguments, from which it is built again.
        grid: the frame and pixels in which it sees a scan.
        window: pixels (h, w), or voxels (d, h, w) of a 3-D model.
        intensity: maps a scan's values to [0,1].
        structures: one a channel of the logits.
        training: facts about the training, for people.
        link: what makes probabilities of logits, "sigmoid", or "softmax" with a background logit of 0.
        needs_prompts: whether it was trained with prompts only; of several structures they say which is meant.
        postprocess: by structure name, what is done to its mask (see `rules`).
        channels: of a scan.
        neighbours: slices on each side of one that the model sees as further channels of it.
        training_values: what the values of each channel of the training scans were; None where that is not known.
        folder: that it was read from; None of one in memory, as while it is trained.
    """

    model: nn.Module
    model_config: dict[str, Any]
    grid: ModelGrid
    window: tuple[int, ...]
    intensity: Intensity
    structures: tuple[Structure, ...]
    training: dict[str, Any]
    link: str = "sigmoid"
    needs_prompts: bool = False
    postprocess: Mapping[str, PostprocessRules] = field(default_factory=dict)
    channels: int = 1
    neighbours: int = 0
    training_values: Statistics | None = None
    folder: Path | None = None

    @property
    def inputs(self) -> int:
        """Return the channels that the model takes."""
        return self.channels * (2 * self.neighbours + 1)

    def rules(self, *, prompted: bool) -> dict[int, PostprocessRules]:
        """Return what is done to the mask of each label value.

        Rules are for answers of the kind they were chosen on: without a prompt, or prompted where the model needs it. A
        prompt may well ask for the piece that a rule would take away.
        """
        if prompted != self.needs_prompts:
            return {}
        return {s.value: self.postprocess[s.name] for s in self.structures if s.name in self.postprocess}


def save(bundle: Bundle, folder: Path) -> None:
    """Write a bundle into `folder`, replacing one that is there, with a model card that knows of no metrics yet.

    Both files are whole before the first takes its place, and the facts know their weights: a kill between the two
    leaves no mixture that loads.
    """
    make_folder(folder)
    with written_beside(folder / _WEIGHTS) as temporary:
        save_file(_weights_of(bundle.model), str(temporary), metadata={"format": "pt"})
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        write_json(folder / _FACTS, {**_facts(bundle), "weights_sha256": sha256_of(temporary)})
    write_card(folder)


def _facts(bundle: Bundle) -> dict[str, Any]:
    """Return what bundle.json says of a bundle besides its weights."""
    values = bundle.training_values
    return {
        "format": FORMAT,
        "segfocal": segfocal.__version__,
        "model": bundle.model_config,
        "frame": bundle.grid.frame,
        "spacing_mm": bundle.grid.spacing_mm,
        "size": bundle.grid.size,
        "window": bundle.window,
        "channels": bundle.channels,
        "neighbours": bundle.neighbours,
        "intensity": intensity.describe(bundle.intensity),
        "structures": [_facts_of(structure) for structure in bundle.structures],
        "link": bundle.link,
        "needs_prompts": bundle.needs_prompts,
        "postprocess": postprocess.describe(bundle.postprocess),
        "training": _shareable(bundle.training),
        **({} if values is None else {"training_values": intensity_statistics.describe(values)}),
    }


def _weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Return the tensors of a model in the order of memory, each once: DynUNet registers layers twice.

    safetensors' own `save_model` notes the other names in an order that changes, so equal models had unequal files.
    """
    named = model.state_dict(keep_vars=True)  # tensors themselves, of which equal ones are one object
    first = {id(tensor): name for name, tensor in reversed(named.items())}
    return {name: named[name].detach().contiguous() for name in first.values()}


def _shareable(training: Mapping[str, Any]) -> dict[str, Any]:
    """Return facts about a training without the folder that its first weights lay in, the user's own affair."""
    facts, weights = dict(training), training.get("weights")
    if isinstance(weights, Mapping) and isinstance(weights.get("path"), str):
        facts["weights"] = {**weights, "path": re.split(r"[\\/]", weights["path"])[-1]}
    return facts


def _facts_of(structure: Structure) -> dict[str, Any]:
    """Return the fields of a structure; what it need not say is left out."""
    return {name: value for name, value in asdict(structure).items() if value or name == "value"}


def load(folder: str | Path) -> Bundle:
    """Read a bundle; the model is on the CPU in evaluation mode.

    Raises:
        UserError: not a bundle, one of another format, a model or intensity not on the allow-lists, weights that are
            damaged or do not fit.
    """
    folder = Path(folder)
    folder = folder.parent if folder.name == _FACTS else folder
    if not (folder / _FACTS).is_file() or not (folder / _WEIGHTS).is_file():
        raise UserError(
            expected=f"a bundle: a folder with {_FACTS} and {_WEIGHTS}",
            found=_instead(folder),
            where=folder,
            do="give the folder named bundle in a run directory, or of an ensemble one of its members",
        )
    facts = read_facts(folder / _FACTS)
    try:
        return _assembled(facts, folder)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            expected="facts that describe a model segfocal may build",
            found=str(error),
            where=folder / _FACTS,
            do="use a bundle that segfocal wrote",
        ) from error


def _instead(folder: Path) -> str:
    if (folder / ENSEMBLE_LIST).is_file():
        return "an ensemble of bundles"
    return "a folder without them" if folder.is_dir() else "no such folder"


def read_intensity(folder: Path) -> Intensity | None:
    """Return the intensity map of a bundle without its model, or None where there is none to be had."""
    try:
        return intensity.build(read_facts(folder / _FACTS)["intensity"])
    except (UserError, TypeError, ValueError):
        return None


def read_channels(folder: Path) -> int:
    """Return how many channels a bundle's scans have, 1 where that cannot be read."""
    try:
        return int(read_facts(folder / _FACTS).get("channels", 1))
    except UserError:
        return 1


def read_structure_names(folder: Path) -> list[str]:
    """Return the names of a bundle's structures, none where they cannot be read."""
    try:
        return [str(structure["name"]) for structure in read_facts(folder / _FACTS)["structures"]]
    except UserError:
        return []


def _built(config: dict[str, Any], weights: Path) -> nn.Module:
    """Build a model; UserError for one far larger than its file of weights, before its memory is touched."""
    there = weights.stat().st_size
    most, asked = _LARGEST_SHARE * there + (1 << 26), 0

    def count(module: nn.Module, name: str, tensor: Tensor | None) -> None:
        nonlocal asked
        asked += 0 if tensor is None else tensor.numel() * tensor.element_size()
        if asked > most:
            raise MemoryError

    hooks = (register_module_parameter_registration_hook(count), register_module_buffer_registration_hook(count))
    try:
        return models.build(config)
    except (MemoryError, RuntimeError) as error:  # RuntimeError: torch could not even reserve it
        raise UserError(
            expected="the weights of the model that bundle.json describes",
            found=f"{there / (1 << 20):.4g} MiB for a model of more than {most / (1 << 20):.4g} MiB",
            where=weights,
            do="copy the bundle again",
        ) from error
    finally:
        for hook in hooks:
            hook.remove()


def _check_belong(facts: dict[str, Any], weights: Path) -> None:
    """Raise UserError for weights that are not those the facts were written with; facts of before do not know."""
    if facts.get("weights_sha256") not in (None, sha256_of(weights)):
        raise UserError(
            expected="the weights that bundle.json was written with",
            found="others: the bundle was being replaced, or copied, when that was cut short",
            where=weights,
            do="copy the bundle again, or write it again with the command that was cut short",
        )


def _assembled(facts: dict[str, Any], folder: Path) -> Bundle:
    model = _built(facts["model"], folder / _WEIGHTS)
    try:
        load_model(model, folder / _WEIGHTS)
    except (SafetensorError, RuntimeError, OSError) as error:
        raise UserError(
            expected="the weights of the model that bundle.json describes",
            found=str(error).splitlines()[0],
            where=folder / _WEIGHTS,
            do="copy the bundle again",
        ) from error
    _check_belong(facts, folder / _WEIGHTS)
    mapped = intensity.build(facts["intensity"])
    spacing, size = facts["spacing_mm"], facts.get("size")
    grid = ModelGrid(
        frame=facts["frame"],
        spacing_mm=None if spacing is None else tuple(spacing),
        size=None if size is None else (size[0], size[1]),
    )
    structures = tuple(Structure(**structure) for structure in facts["structures"])
    values = facts.get("training_values")
    return Bundle(
        model=model.eval(),
        model_config=facts["model"],
        grid=grid,
        window=tuple(facts["window"]),
        intensity=mapped,
        structures=structures,
        training=facts["training"],
        link=facts["link"],
        needs_prompts=facts.get("needs_prompts", False),
        postprocess=postprocess.read_rules(facts.get("postprocess", {}), structures),
        channels=facts.get("channels", 1),  # bundles of before know one channel and no neighbours
        neighbours=facts.get("neighbours", 0),
        training_values=None if values is None else intensity_statistics.build(values),
        folder=folder,
    )
