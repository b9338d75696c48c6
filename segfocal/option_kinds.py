"""Values of options and their kinds: one converter, which reads the annotations of the constructors that take them.

Strict about numbers and words, so that "3" is no number and true is no 1. Switches may be spelt as in YAML 1.1: yes,
no, on, off.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import BeforeValidator, ConfigDict, Field, Strict, TypeAdapter, ValidationError

_SWITCHES = {"yes": True, "on": True, "true": True, "no": False, "off": False, "false": False}
_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text", type(None): "null"}
_LONGEST = 80  # characters of a value that a message shows


def converted(value: Any, kind: Any, name: str) -> Any:
    """Return the value of an option as its kind asks for it; one number or word counts as a list of it.

    Args:
        value: as YAML or a command line gives it.
        kind: an annotation; a text in Annotated says it in words.
        name: of the option, for the message.

    Raises:
        ValueError: a value of another kind.
    """
    given = value
    single = isinstance(value, int | float | str) and not isinstance(value, bool)
    if single and get_args(kind) and _is_a(kind, Sequence):
        value = [value]
    try:
        return _adapter(kind).validate_python(value)
    except ValidationError:
        raise ValueError(f"expected {name} to be {in_words(kind)}; got {shown(given)}") from None


def kinds_of(built: Callable[..., Any]) -> Mapping[str, Any]:
    """Return the annotation of each named argument of a function or class; of one that cannot be read, nothing."""
    return _kinds(built)


@cache
def _kinds(built: Any) -> Mapping[str, Any]:
    try:
        hints = get_type_hints(built.__init__ if inspect.isclass(built) else built, include_extras=True)
        taken = inspect.signature(built).parameters.values()
    except (NameError, TypeError, ValueError):
        return {}
    open_ended = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    named = [each.name for each in taken if each.kind not in open_ended]
    return {name: hints[name] for name in named if name in hints}


def shown(value: Any) -> str:
    """Return a value as a message shows it: on one line, and not all of a long one."""
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def in_words(kind: Any) -> str:
    """Return what a kind asks for, in the words of a message."""
    parts = get_args(kind)
    if get_origin(kind) is Annotated:
        return next((part for part in parts[1:] if isinstance(part, str)), in_words(parts[0]))
    if get_origin(kind) is Literal:
        words = [str(part).lower() if isinstance(part, bool) else str(part) for part in parts]
        return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
    if _is_union(kind):
        return " or ".join(dict.fromkeys(in_words(part) for part in parts if not _is_object(part)))
    if kind in _WORDS:
        return _WORDS[kind]
    if parts and _is_a(kind, Mapping):
        return f"{{name: {in_words(parts[1])}, …}}"
    if parts and _is_a(kind, Sequence):
        return f"[{in_words(parts[0])}, …]"
    return "anything" if kind is Any else f"a {getattr(kind, '__name__', kind)}"


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(_strict(kind), config=ConfigDict(arbitrary_types_allowed=True))


def _strict(kind: Any) -> Any:
    """Return an annotation whose numbers and words pydantic takes as they are, and whose switches have YAML's names."""
    parts = get_args(kind)
    if kind is bool:
        return Annotated[bool, BeforeValidator(_switch), Strict()]
    if get_origin(kind) is Literal and any(isinstance(part, bool) for part in parts):
        return Annotated[kind, BeforeValidator(_switch)]
    if kind in (int, str):
        return Annotated[kind, Strict()]
    if kind is float:
        return Annotated[float, Strict(), Field(allow_inf_nan=False)]
    if get_origin(kind) is Annotated:
        return Annotated[(_strict(parts[0]), *kind.__metadata__)]
    if _is_union(kind):
        return Union[tuple(_strict(part) for part in parts)]  # noqa: UP007
    if parts and (_is_a(kind, Mapping) or _is_a(kind, Sequence)):
        return get_origin(kind)[tuple(part if part is ... else _strict(part) for part in parts)]
    return kind


def _switch(value: Any) -> Any:
    return _SWITCHES.get(value.lower(), value) if isinstance(value, str) else value


def _is_union(kind: Any) -> bool:
    return get_origin(kind) in (Union, types.UnionType)


def _is_a(kind: Any, parent: type) -> bool:
    origin = get_origin(kind)
    return isinstance(origin, type) and issubclass(origin, parent)


def _is_object(kind: Any) -> bool:
    """Return whether a kind is one that no YAML holds, such as a tensor."""
    return inspect.isclass(kind) and kind not in _WORDS and get_origin(kind) is None
