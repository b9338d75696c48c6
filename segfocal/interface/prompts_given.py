"""Prompts that a program gives, as entries of a file of prompts: one set of rules and messages for both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from segfocal.errors import UserError


def entries_of(
    points: Sequence[Any], outside: Sequence[Any], boxes: Sequence[Any], structure: str | None
) -> list[dict[str, Any]]:
    """Return prompts as entries: boxes first, then points inside, then points outside.

    Args:
        points: inside, each three numbers, or an entry.
        outside: likewise.
        boxes: two corners each, or an entry.
        structure: of what is no entry, or of one that names none; None for the only one that there is.

    Raises:
        UserError: what is neither numbers nor an entry.
    """
    named = {} if structure is None else {"structure": structure}
    corners = ("lower", "upper")
    return [
        *(named | _entry(box, lambda two: dict(zip(corners, _numbers(two, (2, 3)), strict=True))) for box in boxes),
        *(named | _entry(point, lambda one: {"point": _numbers(one, (3,))}) for point in points),
        *(named | _entry(point, lambda one: {"point": _numbers(one, (3,))}) | {"inside": False} for point in outside),
    ]


def _entry(given: Any, made: Any) -> dict[str, Any]:
    return dict(given) if isinstance(given, Mapping) else made(given)


def _numbers(given: Any, shape: tuple[int, ...]) -> Any:
    """Return numbers of a shape as lists of floats."""
    try:
        array = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.zeros(0)
    if array.shape != shape:
        raise UserError(
            expected="a point of three numbers, [i, j, k]" if shape == (3,) else "a box of two corners, [[i, j, k], …]",
            found=repr(given)[:60],
            do="mend that prompt",
        )
    return array.tolist()
