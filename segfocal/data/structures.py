"""The structures to segment, by name: one, several, or unions, and the label values they have on disk.

liver   5   [liver, spleen]   {kidneys: [kidney_left, kidney_right]}   [liver, {kidneys: [2, 3]}]
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from segfocal.errors import UserError
from segfocal.structure import Structure

Target: TypeAlias = "str | int | Mapping[str, str | int | Sequence[str | int]]"

MOST_OVERLAPPING = 15  # structures that may overlap: a bit each in 16, and one for voxels to ignore


def choose_structures(
    target: Target | Sequence[Target], label_values: Mapping[str, int], *, overlap: bool = False
) -> tuple[Structure, ...]:
    """Return the structures named in `target`: names of `label_values`, label values, or unions of those by a new name.

    A structure keeps its label value. Where a union is among them, they are numbered 1, 2, … in their order.
    overlap: a voxel may lie in several, as where each has a mask file of its own; they then have the values 1, 2, 4, …
    Unions that share a label value always overlap.

    Raises:
        UserError: a name that is not known, a value of zero (the background), the same one twice, or more than 15
            structures that may overlap.
    """
    wanted = list(target) if isinstance(target, Sequence) and not isinstance(target, str) else [target]
    chosen = tuple(structure for item in wanted for structure in _some(item, label_values))
    if not chosen or max(Counter(frozenset(c.label_values) for c in chosen).values()) > 1:
        raise UserError(expected="one or more different structures", found=str(target), do="set target")
    twice = [name for name, count in Counter(c.name for c in chosen).items() if count > 1]
    if twice:
        raise UserError(expected="a name for each structure", found=f"{twice[0]} twice", do="change target")
    shared = max(Counter(value for c in chosen for value in c.label_values).values()) > 1
    if shared or (overlap and len(chosen) > 1):
        return _overlapping(chosen)
    if any(c.of for c in chosen):
        return tuple(replace(c, value=k, of=c.label_values) for k, c in enumerate(chosen, start=1))
    return chosen


def _overlapping(chosen: tuple[Structure, ...]) -> tuple[Structure, ...]:
    if len(chosen) > MOST_OVERLAPPING:
        raise UserError(
            expected=f"at most {MOST_OVERLAPPING} structures that may overlap",
            found=f"{len(chosen)}",
            do="name fewer in target, or set data.overlap=false where no two share a voxel",
        )
    return tuple(replace(c, value=1 << k, of=c.label_values, overlaps=True) for k, c in enumerate(chosen))


def _some(item: Target, label_values: Mapping[str, int]) -> list[Structure]:
    if not isinstance(item, Mapping):
        return [_one(item, label_values)]
    unions = []
    for name, parts in item.items():
        several = list(parts) if isinstance(parts, Sequence) and not isinstance(parts, str) else [parts]
        values = tuple(_one(part, label_values).value for part in several)
        if not values or len(set(values)) < len(values):
            raise UserError(
                expected=f"one or more different structures to make up {name}", found=str(parts), do="change target"
            )
        unions.append(Structure(name=str(name), value=values[0], of=values))
    return unions


def _one(item: str | int, label_values: Mapping[str, int]) -> Structure:
    text = str(item)
    if label_values.get(text, 0) != 0:
        return Structure(name=text, value=label_values[text])
    if text.isdecimal() and int(text) > 0:
        value = int(text)
        return Structure(name=next((n for n, v in label_values.items() if v == value), f"label_{value}"), value=value)
    by_lower = {name.lower(): name for name in label_values}
    close = [by_lower[name] for name in difflib.get_close_matches(text.lower(), by_lower, n=3, cutoff=0.7)]
    near = [name for name in label_values if name in close or text.lower()[:4] in name.lower()]
    listed = near or list(label_values)
    more = f" and {len(listed) - 12} more" if len(listed) > 12 else ""
    known = f"one of {', '.join(listed[:12])}{more}" if label_values else "a label value such as 1"
    meant = f"did you mean {near[0]}? " if len(near) == 1 else ""
    do = f"{meant}Name a structure of this data set or its label value"
    raise UserError(expected=known, found=f"target={text}", do=do)
