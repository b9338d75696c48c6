"""YAML without its powers: no aliases, no tags, no dates, each key once; by libyaml where it is installed."""

from __future__ import annotations

import re
from typing import Any, Protocol

import yaml

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_FLOAT = re.compile(
    r"""^(?:[-+]?[0-9]+(?:_[0-9]+)*\.[0-9_]*(?:[eE][-+]?[0-9]+)?
    |[-+]?[0-9]+(?:_[0-9]+)*(?:[eE][-+]?[0-9]+)
    |\.[0-9]+(?:_[0-9]+)*(?:[eE][-+][0-9]+)?
    |[-+]?[0-9]+(?:_[0-9]+)*(?::[0-5]?[0-9])+\.[0-9_]*
    |[-+]?\.(?:inf|Inf|INF)
    |\.(?:nan|NaN|NAN))$""",
    re.VERBOSE,
)  # OmegaConf's: YAML 1.1 takes 1e-3 for text


class Values(Protocol):
    """Takes numbers and mappings as they are found, and may refuse them."""

    def whole(self, text: str) -> int:
        """Return a whole number; refuse one of too many digits."""

    def finite(self, value: float, text: str) -> float:
        """Return a number; refuse NaN and infinity where they may not be."""

    def mapping(self, pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
        """Return a mapping; refuse a key twice."""


class Refusal(Exception):
    """A construct of YAML that is not read."""

    def __init__(self, expected: str, found: str) -> None:
        self.expected, self.found = expected, found
        super().__init__(found)


def check_events(text: str, depth: int) -> None:
    """Raise Refusal for an alias, a tag or nesting beyond `depth`, by a pass that builds nothing."""
    now = 0
    for event in yaml.parse(text, Loader=_Base):
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            raise Refusal("YAML that writes each value out", f"the alias *{event.anchor} in line {line}")
        if getattr(event, "tag", None) not in (None, "!"):
            raise Refusal("YAML without tags", f"{event.tag} in line {line}")
        now += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if now > depth:
            raise Refusal(f"lists and mappings at most {depth} deep in each other", f"deeper ones in line {line}")


def load(text: str, values: Values) -> Any:
    """Return what YAML holds; `check_events` has been asked before."""
    loader = _Loader(text)
    loader.values = values
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


class _Loader(_Base):
    values: Values


def _whole(loader: Any, node: yaml.ScalarNode) -> int:
    text = node.value.replace("_", "")
    if re.fullmatch(r"[-+]?[0-9]+", text):
        loader.values.whole(text.lstrip("+"))
    return int(loader.construct_yaml_int(node))


def _number(loader: Any, node: yaml.ScalarNode) -> float:
    return float(loader.values.finite(loader.construct_yaml_float(node), node.value))


def _mapping(loader: Any, node: yaml.MappingNode) -> dict[Any, Any]:
    loader.flatten_mapping(node)
    pairs = [
        (loader.construct_object(key, deep=True), loader.construct_object(value, deep=True))
        for key, value in node.value
    ]
    return dict(loader.values.mapping(pairs))


_Loader.add_constructor("tag:yaml.org,2002:int", _whole)
_Loader.add_constructor("tag:yaml.org,2002:float", _number)
_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)
_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern)
        for tag, pattern in known
        if tag not in ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:float")
    ]
    for first, known in _Base.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))
