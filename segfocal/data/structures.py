"""The structures to segment, by name, and the label values they have on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from segfocal.batch import Structure
from segfocal.errors import UserError


def choose_structures(
    target: str | int | Sequence[str | int], label_values: Mapping[str, int]
) -> tuple[Structure, ...]:
    """Return the structures named in `target`: names of `label_values`, or label values themselves.

    Raises:
        UserError: a name that is not known, a value of zero (the background), or the same one twice.
    """
    wanted = list(target) if isinstance(target, Sequence) and not isinstance(target, str) else [target]
    chosen = tuple(_one(item, label_values) for item in wanted)
    if not chosen or len({c.value for c in chosen}) < len(chosen):
        raise UserError(expected="one or more different structures", found=str(target), do="set target")
    return chosen


def _one(item: str | int, label_values: Mapping[str, int]) -> Structure:
    text = str(item)
    if label_values.get(text, 0) != 0:
        return Structure(name=text, value=label_values[text])
    if text.isdecimal() and int(text) > 0:
        value = int(text)
        return Structure(name=next((n for n, v in label_values.items() if v == value), f"label_{value}"), value=value)
    near = [name for name in label_values if text.lower()[:4] in name.lower()]
    known = f"one of {', '.join(near or list(label_values)[:12])}" if label_values else "a label value such as 1"
    raise UserError(expected=known, found=f"target={text}", do="name a structure of this data set or its label value")
