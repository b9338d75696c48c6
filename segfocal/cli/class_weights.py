"""Class weights by name, {background: 1, liver: 50}, as the list that a loss takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from segfocal.cli.targets import TARGET, by_class, found_target, kinds

if TYPE_CHECKING:
    from segfocal.structure import Structure


def with_listed_weights(
    loss: Mapping[str, Any], structures: Sequence[Structure], *, imports: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Return the config of a loss with the weights that its terms have by class as lists.

    Args:
        loss: checked.
        structures: the targets, in order.
        imports: modules that the command line names.

    Raises:
        ValueError: a class that is not there, or without a weight.
    """
    from segfocal.losses.class_weights import ClassWeights

    names, terms = [structure.name for structure in structures], {}
    for term, options in (loss.get("terms") or {}).items():
        terms[term] = dict(options)
        asked = kinds(found_target(options[TARGET], TARGET, imports)) if TARGET in options else {}
        for option, weights in options.items():
            if by_class(weights, asked.get(option)):
                classes = ["background", *names] if asked[option] == ClassWeights else names
                terms[term][option] = _listed(weights, classes, f"loss.terms.{term}.{option}")
    return {**loss, "terms": terms}


def _listed(weights: Mapping[str | int, float], classes: Sequence[str], name: str) -> list[float]:
    """Return weights by class in the order of the classes; a number is a class's place, the background's being 0."""
    first = 0 if classes[0] == "background" else 1
    by_number = {str(number): one for number, one in enumerate(classes, first)}
    found: dict[str, float] = {}
    for key, weight in weights.items():
        word = str(key)
        meant = {one for one in (word if word in classes else None, by_number.get(word)) if one is not None}
        if len(meant) != 1:
            raise ValueError(
                f"expected {name} of {', '.join(classes)}; got {key}, which is {len(meant)} of them: use a list"
            )
        found[meant.pop()] = weight
    if len(found) != len(classes) or len(found) != len(weights):
        raise ValueError(f"expected {name} to give each of {', '.join(classes)} one weight; got {dict(weights)}")
    return [found[one] for one in classes]
