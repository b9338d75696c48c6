"""Which parameters of a model are trained: chosen by name patterns, counted by group."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from itertools import groupby
from typing import NamedTuple

from torch import nn

_DEPTH = 2  # components of a name that make its group


class ParameterGroup(NamedTuple):
    """How many numbers a part of a model holds.

    Args:
        group: the part's name, as "image_encoder.blocks".
        parameters: numbers in it.
        trained: those that training changes.
        frozen: the others.
    """

    group: str
    parameters: int
    trained: int
    frozen: int


def freeze_parameters(model: nn.Module, freeze: Sequence[str], train: Sequence[str] = ()) -> None:
    """Freeze, in place, the parameters whose name matches a pattern of `freeze` and none of `train`.

    Patterns are those of file names: "image_encoder.*", "*.Adapter.*".

    Raises:
        ValueError: a pattern that matches no parameter.
    """
    names = [name for name, _ in model.named_parameters()]
    for option, patterns in (("freeze", freeze), ("train", train)):
        unused = [pattern for pattern in patterns if not _matches(names, pattern)]
        if unused:
            raise ValueError(
                f"expected patterns in model.{option} that match parameters; {unused} match none of {names[:3]} …: "
                "write them as image_encoder.* or *.Adapter.*"
            )
    for name, parameter in model.named_parameters():
        frozen = any(fnmatchcase(name, p) for p in freeze) and not any(fnmatchcase(name, p) for p in train)
        if frozen:
            parameter.requires_grad_(False)


def parameter_table(model: nn.Module) -> list[ParameterGroup]:
    """Return one row for each part of a model, adapters apart, and last the total."""
    counted = [(_group(name), p.numel(), p.requires_grad) for name, p in model.named_parameters()]
    order = {group: place for place, (group, _, _) in reversed(list(enumerate(counted)))}
    counted.sort(key=lambda row: order[row[0]])
    rows = [_row(group, members) for group, members in groupby(counted, key=lambda row: row[0])]
    return [*rows, _row("total", iter(counted))]


def _row(group: str, members: Iterator[tuple[str, int, bool]]) -> ParameterGroup:
    sizes = [(size, trained) for _, size, trained in members]
    everything, trained = sum(size for size, _ in sizes), sum(size for size, trained in sizes if trained)
    return ParameterGroup(group, everything, trained, everything - trained)


def _group(name: str) -> str:
    """Return the first components of a parameter's name, those of an adapter up to it, numbers as `*`."""
    parts = ["*" if part.isdigit() else part for part in name.split(".")]
    if "Adapter" in parts:
        return ".".join(parts[: parts.index("Adapter") + 1])
    if parts[-1].startswith("lora_"):
        return ".".join([*parts[:-1], "lora"])
    return ".".join(parts[:_DEPTH]).removesuffix(".weight").removesuffix(".bias")


def _matches(names: Sequence[str], pattern: str) -> bool:
    return any(fnmatchcase(name, pattern) for name in names)
