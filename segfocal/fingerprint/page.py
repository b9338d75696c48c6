"""A fingerprint written down: the numbers, one HTML page, and a sweep that tries what is suggested."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any, NamedTuple

import yaml

from segfocal.files import claim, make_folder, write_json, write_text
from segfocal.fingerprint.suggestions import Suggestion
from segfocal.plain_names import slug
from segfocal.report import plots
from segfocal.report.html import write_page
from segfocal.typed_words import line

SWEEP = "suggested"
_GROUPS = ("intensity", "loss")
_RESUME = "resume: auto                 # the same command makes only the runs that are missing"


class DataChoice(NamedTuple):
    """The choice of the group data, such as csv, and its options."""

    choice: str
    options: Mapping[str, Any]


def check_folder(folder: Path, read: Iterable[Path] = (), *, overwrite: bool) -> None:
    """Raise UserError where results lie already that may not be replaced, or would replace a file that is read."""
    names = ("fingerprint.json", "fingerprint.html", "shares.png", f"experiment/{SWEEP}.yaml")
    claim([folder / name for name in names], read, overwrite=overwrite)


def write(
    fingerprint: Mapping[str, Any],
    suggestions: Sequence[Suggestion],
    folder: Path,
    *,
    about: Mapping[str, Any],
    data: DataChoice,
) -> str:
    """Write fingerprint.json, shares.png, fingerprint.html and experiment/suggested.yaml; return the sweep's command.

    Args:
        fingerprint: of all cases, as `summarise` returns it.
        suggestions: for these data.
        folder: where to write.
        about: what was measured and how, for the reader; its "target" is the sweep's too.
        data: what the sweep trains on.
    """
    make_folder(folder)
    command = line(["segfocal", "train", "--config-dir", str(folder), f"experiment={SWEEP}"])
    said = [{"option": s.option, "value": s.value, "swept": s.swept, "why": s.why} for s in suggestions]
    write_json(folder / "fingerprint.json", {**about, **fingerprint, "suggestions": said, "command": command})
    present = {name: row for name, row in fingerprint["structures"].items() if row["voxels"]}
    text = sweep(suggestions, target=about["target"], names=list(present), data=data)
    write_text(folder / "experiment" / f"{SWEEP}.yaml", text)
    shares = {name: (row["voxel_share"], row["slice_share"]) for name, row in present.items()}
    plots.draw_foreground(folder / "shares.png", shares)
    values = {
        "about": about,
        "found": fingerprint,
        "suggestions": said,
        "picture": folder / "shares.png",
        "command": command,
    }
    write_page(folder / "fingerprint.html", "fingerprint/page.html.j2", values, filters={"json": json.dumps})
    return command


def sweep(suggestions: Sequence[Suggestion], *, target: Any, names: Sequence[str], data: DataChoice) -> str:
    """Return the YAML of an experiment that sets what is suggested, each line after its reason, and sweeps the rest.

    It trains a U-Net, which takes windows of any size.

    Args:
        suggestions: fixed and swept ones, α and γ of the focal term among the latter.
        target: the option, without structures that have no voxel.
        names: of the structures, for the runs' folder.
        data: what it trains on.
    """
    fixed = {s.option: s for s in suggestions if not s.swept}
    swept = {_last(s.option): s for s in suggestions if s.swept}
    groups = {group: fixed[group] for group in _GROUPS if group in fixed}
    options = {key: (value, fixed.get(f"data.{key}")) for key, value in data.options.items()}
    sections = [
        [
            "# @package _global_",
            f"# A sweep over {' and '.join(swept)}, suggested by segfocal fingerprint.",
            "defaults:",
            _line("- ", "override /data", data.choice),
            *(_line("- ", f"override /{group}", s.value, s) for group, s in groups.items()),
            _line("- ", "override /model", "unet"),
            _line("- ", "override /task", "semantic"),
        ],
        [f"target: {_flow(target)}"],
        ["data:", *(_line("", key, s.value if s else value, s) for key, (value, s) in options.items())],
        ["model:", _line("", "prior", fixed["model.prior"].value, fixed["model.prior"])],
        ["sweep:", *(_line("", name, s.value, s) for name, s in swept.items()), _line("", "seed", [0])],
        [_RESUME],
        [_runs({name: s.option for name, s in swept.items()} | {"seed": "seed"}, names)],
    ]
    return "\n\n".join("\n".join(lines) for lines in sections)


def _line(bullet: str, key: str, value: Any, suggestion: Suggestion | None = None) -> str:
    """Return a line of YAML, one step in, under the reason for its value."""
    why = "".join(letter if letter.isprintable() else " " for letter in suggestion.why) if suggestion else ""
    return "\n".join([*(f"  # {line}" for line in wrap(why, 116)), f"  {bullet}{_flow(key)}: {_flow(value)}"])


def _flow(value: Any) -> str:
    """Return a value as YAML on one line, in which text that looks like an interpolation of Hydra's is text."""
    text = yaml.safe_dump(_as_text(value), default_flow_style=True, width=10_000, allow_unicode=True)
    return text.removesuffix("...\n").strip()


def _as_text(value: Any) -> Any:
    if isinstance(value, str):
        return re.sub(r"(\\*)\$\{", lambda found: found[1] * 2 + r"\${", value)
    if isinstance(value, Mapping):
        return {key: _as_text(part) for key, part in value.items()}
    return [_as_text(part) for part in value] if isinstance(value, list | tuple) else value


def _runs(axes: Mapping[str, str], names: Sequence[str]) -> str:
    """Return the part for Hydra: a run for each value of the options `axes`, by their short names, and its folder."""
    hydra = {
        "mode": "MULTIRUN",
        "sweep": {
            "dir": f"runs/{slug('_'.join(['suggested', *names]))}",
            "subdir": ",".join(f"{name}=${{{option}}}" for name, option in axes.items()),
        },
        "sweeper": {"params": {option: f"${{choices:${{sweep.{name}}}}}" for name, option in axes.items()}},
    }
    return yaml.safe_dump({"hydra": hydra}, sort_keys=False, width=10_000, allow_unicode=True)


def _last(option: str) -> str:
    return option.rsplit(".", 1)[-1]
