"""How far a reader walks who follows one command: files entered, and climbs back up (python benchmarks/call_map.py).

The walk is static: from a function through the calls in its body, in the order in which they stand. Every function is
read once, where it is first called. A class counts as one function. Calls of methods on values are not followed, so the
counts compare versions of this package with each other, not with other packages. A climb is a step to a file on a
higher floor (tests/laws/test_layers.py) than the file read just before.
"""

from __future__ import annotations

import argparse
import ast
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
WALKS = (
    "segfocal.predict.predict:predict",
    "segfocal.engine.train:train",
    "segfocal.evaluate.evaluate:evaluate",
)


class Place(NamedTuple):
    """A function or class: the module it stands in, and its name."""

    module: str
    name: str


class Package:
    """The modules of a checkout, parsed; nothing is imported."""

    def __init__(self, root: Path) -> None:
        paths = (root / "segfocal").rglob("*.py")
        self.trees = {
            ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): ast.parse(
                path.read_text()
            )
            for path in paths
        }
        self._imports = {module: dict(self._imported(module)) for module in self.trees}

    @cached_property
    def places(self) -> dict[Place, ast.AST]:
        """The functions and classes at the top of every module."""
        kinds = (ast.FunctionDef, ast.ClassDef)
        return {
            Place(m, node.name): node for m, tree in self.trees.items() for node in tree.body if isinstance(node, kinds)
        }

    def _imported(self, module: str) -> Iterator[tuple[str, Place]]:
        for node in ast.walk(self.trees[module]):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("segfocal"):
                yield from ((alias.asname or alias.name, Place(node.module or "", alias.name)) for alias in node.names)

    def find(self, place: Place) -> Place | None:
        """Return where a name is defined, through any number of re-exports; None for a module or a constant."""
        seen = set()
        while place not in self.places:
            if place in seen or place.module not in self.trees:
                return None
            seen.add(place)
            place = self._imports[place.module].get(place.name, place)
        return place

    def calls(self, place: Place) -> Iterator[Place]:
        """Yield what a function or class calls, in order; arguments before the call they belong to."""
        for node in _calls_in(self.places[place]):
            target = node.func
            found = None
            if isinstance(target, ast.Name):
                found = self.find(Place(place.module, target.id))
            elif isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name):
                owner = self._imports[place.module].get(target.value.id)
                if owner and f"{owner.module}.{owner.name}" in self.trees:
                    found = self.find(Place(f"{owner.module}.{owner.name}", target.attr))
                elif owner:
                    found = self.find(owner)
            if found:
                yield found


def _calls_in(node: ast.AST) -> Iterator[ast.Call]:
    for child in ast.iter_child_nodes(node):
        yield from _calls_in(child)
    if isinstance(node, ast.Call):
        yield node


@dataclass
class Walk:
    """The functions read, in order."""

    package: Package
    read: list[Place] = field(default_factory=list)

    def follow(self, place: Place) -> None:
        """Read a function, and at each call the function called, unless it was read before."""
        if place in self.read:
            return
        self.read.append(place)
        for called in self.package.calls(place):
            self.follow(called)

    def row(self, floors: dict[str, int]) -> dict[str, int]:
        """Return the number of files entered and of climbs."""
        heights = [floors[place.module.split(".")[1]] for place in self.read]
        return {"files": len({p.module for p in self.read}), "climbs": sum(b > a for a, b in pairwise(heights))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout to read")
    parser.add_argument("--walks", nargs="+", default=WALKS, metavar="MODULE:FUNCTION")
    options = parser.parse_args()
    sys.setrecursionlimit(10_000)
    sys.path.insert(0, str(ROOT))
    from tests.laws.test_layers import LAYERS

    package = Package(options.root)
    earlier = {"serve": 4, "experiments": 4}  # rooms of the first edition
    for name in options.walks:
        walk = Walk(package)
        walk.follow(Place(*name.split(":")))
        print(json.dumps({"walk": name, **walk.row(LAYERS | earlier)}))


if __name__ == "__main__":
    main()
