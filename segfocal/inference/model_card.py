"""The model card: README.md in the folder of a bundle, which says to people what is in it and what is known of it.

Its head is YAML, for programs. Every number comes from a file that the card names with its SHA-256. What only people
know is left to fill in, and a new card keeps what was filled in on the old one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segfocal.errors import UserError
from segfocal.files import sha256_of, write_text
from segfocal.inference import filled_in
from segfocal.inference.bundle_facts import read_facts
from segfocal.inference.filled_in import FilledIn
from segfocal.report import markdown

CARD = filled_in.CARD
_FACTS, _WEIGHTS = "bundle.json", "model.safetensors"
_FIELDS = ("Training data", "Intended use", "Licence")  # in which a person fills something in
_OTHERS = ("Targets", "Input", "Metrics", "Limits", "Hashes")
_ASK_DATA = "where the scans are from (scanners, sites, years, patients), who drew the labels and how."
_ASK_USE = "for whom, on which scans, to which end, and what it must not be used for."
_ASK_LICENCE = (
    "the licence of these weights. That of the training data, and of weights that training began with, may bind them. "
    "segfocal itself is under the Apache License 2.0."
)
_FEW = 30  # cases, below which an interval says little


@dataclass(frozen=True, kw_only=True)
class CardMetric:
    """A metric over cases.

    Args:
        structure: its name.
        prompt: "none", or what each case was prompted with.
        metric: its name, with a unit where it has one: "dice", "hd95_mm".
        cases: how many it is the mean of.
        mean: over those.
        low: of the 95 % bootstrap interval of the mean; None where there is none.
        high: likewise.
    """

    structure: str
    metric: str
    cases: int
    mean: float
    low: float | None = None
    high: float | None = None
    prompt: str = "none"

    def facts(self) -> dict[str, Any]:
        """Return the fields for a program; no interval where there is none."""
        facts: dict[str, Any] = {"structure": self.structure, "metric": self.metric, "prompt": self.prompt}
        facts |= {"cases": self.cases, "mean": round(self.mean, 4)}
        if self.interval:
            facts["interval_95"] = [round(value, 4) for value in self.interval]
        return facts

    @property
    def interval(self) -> tuple[float, float] | None:
        """The interval, None where there is none."""
        if self.low is None or self.high is None or not math.isfinite(self.low + self.high):
            return None
        return self.low, self.high


@dataclass(frozen=True, kw_only=True)
class CardResults:
    """What a training has found out about its model.

    Args:
        metrics: in the order of the table.
        source: the file that they are from.
        how: in a sentence or two, on which cases they were measured, and by which of the models.
    """

    metrics: Sequence[CardMetric]
    source: Path
    how: str


def write_card(folder: Path, *, members: Sequence[str] = (), results: CardResults | None = None) -> None:
    """Write the card of a bundle, or of an ensemble of some, in place of one that is there.

    What a person has filled in on that one stays: open fields, the licence, further keys of the head, further sections.

    Args:
        folder: the bundle, whole.
        members: of an ensemble, the names of the folders of its bundles.
        results: what was measured; None where nothing was.
    """
    places = [folder / name for name in members] or [folder]
    try:
        facts = [read_facts(place / _FACTS) for place in places]
    except UserError:  # facts that no reader takes, which whoever loads the bundle is told
        (folder / CARD).unlink(missing_ok=True)
        return
    files = [place / name for place in places for name in (_WEIGHTS, _FACTS)]
    hashes = {file.relative_to(folder).as_posix(): sha256_of(file) for file in files}
    sources = {} if results is None else {_beside(results.source, folder): sha256_of(results.source)}
    head = _head(facts[0], hashes, results, sources)
    own = filled_in.read_filled_in(folder / CARD, keys=head.keys() - {"license"}, fields=_FIELDS, others=_OTHERS)
    sections = _sections(facts, hashes, results, sources, own=own)
    write_text(folder / CARD, "\n".join([markdown.head({**head, **own.head}), *sections]))


def _head(
    facts: Mapping[str, Any], hashes: Mapping[str, str], results: CardResults | None, sources: Mapping[str, str]
) -> dict[str, Any]:
    """Return what the card says to programs."""
    return {
        "library_name": "segfocal",
        "library_version": facts["segfocal"],
        "pipeline_tag": "image-segmentation",
        "tags": ["medical-imaging", "segmentation", "segfocal"],
        "license": "unknown",
        "model": facts["model"].get("_target_"),
        "structures": {str(one["name"]): one["value"] for one in facts["structures"]},
        "needs_prompts": facts.get("needs_prompts", False),
        "metrics": [one.facts() for one in results.metrics] if results else [],
        "metrics_from": dict(sources),
        "sha256": dict(hashes),
    }


def _sections(
    facts: Sequence[Mapping[str, Any]],
    hashes: Mapping[str, str],
    results: CardResults | None,
    sources: Mapping[str, str],
    *,
    own: FilledIn,
) -> list[str]:
    first, count = facts[0], len(facts)
    names = ", ".join(markdown.escaped(one["name"]) for one in first["structures"])
    made = f"{count} models, whose logits are averaged" if count > 1 else "one model"
    several = [f"`{name}`" for name in hashes if name.endswith(_FACTS)]
    listed = ", ".join(several) if count > 1 else several[0]
    return [
        f"# Segmentation of {names}\n",
        f"A bundle of segfocal {markdown.escaped(first['segfocal'])}: {made}. "
        f"What is said of targets, input and training is from {listed}.\n",
        "    segfocal predict bundle=THIS_FOLDER input=scan.nii.gz output=mask.nii.gz\n",
        "## Targets\n",
        _targets(first),
        "\n## Input\n",
        markdown.table(["what", "value"], _input_rows(first)),
        "\n## Training data\n",
        markdown.table(["what", "value"], _training_rows(facts)),
        "\n" + own.text("Training data", _ASK_DATA),
        "\n## Metrics\n",
        _metrics(results, sources),
        "\n## Intended use\n",
        own.text("Intended use", _ASK_USE),
        "\n## Limits\n",
        "\n".join(f"- {line}" for line in _limits(first, facts, results)),
        "\n## Licence\n",
        own.text("Licence", _ASK_LICENCE),
        *(f"\n{section.rstrip()}" for section in own.sections),
        "\n## Hashes\n",
        markdown.table(["file", "SHA-256"], list({**hashes, **sources}.items())),
        "",
    ]


def _targets(facts: Mapping[str, Any]) -> str:
    rows = [
        (one["name"], one["value"], ", ".join(map(str, one.get("of") or [one["value"]]))) for one in facts["structures"]
    ]
    return markdown.table(["structure", "value in a mask", "label values of the training data"], rows)


def _input_rows(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    spacing, size, values = facts["spacing_mm"], facts.get("size"), facts.get("training_values") or []
    pixels = " × ".join(f"{mm:g}" for mm in spacing) + " mm" if spacing else "as the scan has them"
    rows = [
        ("channels", str(facts.get("channels", 1))),
        ("neighbouring slices on each side", str(facts.get("neighbours", 0))),
        ("axes", str(facts["frame"])),
        ("pixels that the model sees", " × ".join(map(str, size)) + " a slice" if size else pixels),
        ("window", " × ".join(map(str, facts["window"]))),
        ("intensities", _intensity_words(facts["intensity"])),
        ("prompts", "needed" if facts.get("needs_prompts") else "not needed"),
    ]
    for number, channel in enumerate(values):
        if channel is not None:
            spread = channel["percentiles"]
            words = f"{spread['median'][0]:g} to {spread['median'][-1]:g}, the median scan's 0.5th to 99.5th percentile"
            rows.append((f"values of channel {number} in training", words))
    return rows


def _intensity_words(intensity: Mapping[str, Any]) -> str:
    kind = str(intensity.get("_target_", "")).rpartition(".")[2]
    given = ", ".join(f"{key} {value}" for key, value in intensity.items() if key != "_target_" and key != "each")
    return f"{kind} {given}".strip()


def _training_rows(facts: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    trainings = [one["training"] for one in facts]
    cases = {str(case) for training in trainings for case in _listed(training.get("cases"))}
    each = [len(_listed(training.get("cases"))) for training in trainings]
    words = f"{len(cases)} in all, {', '.join(map(str, each))} by model" if len(facts) > 1 else str(len(cases))
    rows = [("labelled cases", words if cases else "none")]
    for key, title in (("steps", "optimiser steps"), ("seed", "seed")):
        rows.append((title, ", ".join(str(training.get(key, "not known")) for training in trainings)))
    weights = trainings[0].get("weights")
    if isinstance(weights, Mapping):
        known = [f"{weights[key]}" for key in ("path", "family", "sha256") if weights.get(key)]
        rows.append(("began with the weights", ", ".join(known) or "not known"))
    return rows


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()


def _metrics(results: CardResults | None, sources: Mapping[str, str]) -> str:
    if results is None or not results.metrics:
        return "None: no case was held out. Nothing is known about masks of other scans."
    rows = [
        (
            one.structure,
            one.metric,
            "no prompt" if one.prompt == "none" else one.prompt,
            one.cases,
            f"{one.mean:.3f}",
            "of one case there is none" if one.interval is None else "{:.3f} to {:.3f}".format(*one.interval),
        )
        for one in results.metrics
    ]
    columns = ["structure", "metric", "prompt", "cases", "mean", "95 % interval of the mean"]
    named = ", ".join(markdown.code(name) for name in sources)
    return f"{results.how} From {named}; intervals by bootstrap over cases.\n\n{markdown.table(columns, rows)}"


def _limits(first: Mapping[str, Any], facts: Sequence[Mapping[str, Any]], results: CardResults | None) -> list[str]:
    lines = [
        "It finds only the targets above, and knows nothing of other findings.",
        "Scans of other scanners, protocols, bodies or units than those of training may get wrong masks. "
        "`segfocal predict` warns of values unlike those of training, not of other differences.",
        "It is no medical device. A person must look at each mask before anything rests on it.",
    ]
    judged = max((one.cases for one in results.metrics), default=0) if results else 0
    if judged < _FEW:
        lines.append(f"It was judged on {judged} case{'s' * (judged != 1)}: too few to know how it does on others.")
    if first.get("needs_prompts"):
        lines.append("Without a prompt it answers nothing.")
    if len(facts) > 1 and results and results.metrics:
        lines.append("The metrics are of its models one by one, not of their mean, which is what the bundle answers.")
    return lines


def _beside(path: Path, folder: Path) -> str:
    """Return a file as seen from the bundle: a card that is passed on names no folder of its maker."""
    for steps, parent in enumerate([folder, *folder.parents]):
        if path.is_relative_to(parent):
            return "../" * steps + path.relative_to(parent).as_posix() if steps < 3 else path.name
    return path.name
