"""A fingerprint written down: the numbers, one HTML page, and a sweep that tries what is suggested."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any

import yaml

from segfocal.files import check_new, make_folder, write_json, write_text
from segfocal.fingerprint.suggestions import Suggestion
from segfocal.report import plots
from segfocal.report.html import write_page

SWEEP = "suggested"
_GROUPS = ("intensity", "loss")
_TAIL = """
resume: auto                 # the same command makes only the runs that are missing

hydra:
  mode: MULTIRUN
  sweep:
    dir: {folder}
    subdir: {subdir}
  sweeper:
    params:
{parameters}
"""


def check_folder(folder: Path, *, overwrite: bool) -> None:
    """Raise UserError where results lie already that may not be replaced."""
    for name in ("fingerprint.json", "fingerprint.html", f"experiment/{SWEEP}.yaml"):
        check_new(folder / name, overwrite=overwrite)


def write(
    fingerprint: Mapping[str, Any],
    suggestions: Sequence[Suggestion],
    folder: Path,
    *,
    about: Mapping[str, Any],
    data: tuple[str, Mapping[str, Any]],
) -> str:
    """Write fingerprint.json, shares.png, fingerprint.html and experiment/suggested.yaml; return the sweep's command.

    about: what was measured and by what, for the reader. data: the group's choice and its options, for the sweep.
    """
    make_folder(folder)
    command = f"python scripts/train.py --config-dir {_quoted(str(folder))} experiment={SWEEP}"
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


def sweep(
    suggestions: Sequence[Suggestion], *, target: Any, names: Sequence[str], data: tuple[str, Mapping[str, Any]]
) -> str:
    """Return the YAML of an experiment that sets what is suggested, each line after its reason, and sweeps the rest.

    It trains a U-Net, which takes windows of any size. names: of the structures, for the runs' folder.
    """
    choice, options = data
    fixed = {s.option: s for s in suggestions if not s.swept}
    swept = [s for s in suggestions if s.swept]
    lines = ["# @package _global_"]
    lines += [f"# A sweep over {' and '.join(_last(s.option) for s in swept)}, suggested by segfocal fingerprint."]
    lines += ["defaults:", f"  - override /data: {choice}"]
    for group in (group for group in _GROUPS if group in fixed):
        lines += [*_reason(fixed[group]), f"  - override /{group}: {fixed[group].value}"]
    lines += ["  - override /model: unet", "  - override /task: semantic", "", f"target: {_flow(target)}", "", "data:"]
    for key, value in options.items():
        suggested = fixed.get(f"data.{key}")
        lines += _reason(suggested) if suggested else []
        lines += [f"  {key}: {_flow(suggested.value if suggested else value)}"]
    prior = fixed["model.prior"]
    lines += ["", "model:", *_reason(prior), f"  prior: {_flow(prior.value)}", "", "sweep:"]
    for one in swept:
        lines += [*_reason(one), f"  {_last(one.option)}: {_flow(one.value)}"]
    lines += ["  seed: [0]"]
    axes = {**{_last(s.option): s.option for s in swept}, "seed": "seed"}
    return (
        "\n".join(lines)
        + "\n"
        + _TAIL.format(
            folder="_".join(["runs/suggested", *names])[:80],
            subdir=",".join(f"{name}=${{{option}}}" for name, option in axes.items()),
            parameters="\n".join(f"      {option}: ${{choices:${{sweep.{name}}}}}" for name, option in axes.items()),
        )
    )


def _reason(suggestion: Suggestion) -> list[str]:
    return [f"  # {line}" for line in wrap(suggestion.why, 116)]


def _last(option: str) -> str:
    return option.rsplit(".", 1)[-1]


def _flow(value: Any) -> str:
    """Return a value as YAML on one line."""
    return (
        yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True).removesuffix("...\n").strip()
    )


def _quoted(text: str) -> str:
    return f"'{text}'" if any(letter in text for letter in " {}[]()$&;|*?<>") else text
