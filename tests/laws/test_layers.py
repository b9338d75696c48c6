"""The house: imports go strictly downward, no two files ask for each other, and a file is found by its name."""

import ast
import re
from collections import Counter, defaultdict
from functools import cache
from graphlib import TopologicalSorter

import pytest

from tests import ROOT

LAYERS = {
    "interface": 8,
    "cli": 7,
    "auto": 6,
    "serve": 5,
    "cross_validate": 5,
    "engine": 4,
    "predict": 4,
    "evaluate": 4,
    "export": 4,
    "doctor": 4,
    "fingerprint": 4,
    "compare": 4,
    "data": 3,
    "tasks": 3,
    "inference": 3,
    "io": 2,
    "models": 2,
    "report": 2,
    "losses": 1,
    "metrics": 1,
    "prompts": 1,
    "intensity": 1,
    "intensity_statistics": 1,
    "augment": 1,
    "cluster": 1,
    "parallel": 1,
    "resample": 1,
    "folder_lock": 1,
    "grid": 0,
    "batch": 0,
    "structure": 0,
    "device": 0,
    "connected_components": 0,
    "distance_transform": 0,
    "component_cells": 1,
    "files": 0,
    "memory": 0,
    "option_kinds": 0,
    "foreign": -1,
    "plain_names": -1,
    "typed_words": -1,
    "writable": -1,
    "errors": -2,
    "plain_text": -3,
}
ONLY_IN = {
    "hydra": {"cli"},
    "omegaconf": {"cli"},
    "jinja2": {"report"},
    "nibabel": {"io"},
    "PIL": {"io", "report"},
    "segment_anything": {"models"},
    "monai": {"models"},
    "pydicom": {"io"},
    "highdicom": {"io"},
    "fastapi": {"serve"},
    "starlette": {"serve"},
    "uvicorn": {"serve"},
    "ray": {"cluster"},
}
FORBIDDEN = {"utils", "common", "helpers", "misc", "manager"}
COMMANDS = {"cli", "predict", "evaluate", "export", "doctor", "fingerprint", "compare", "cross_validate", "auto"}
COMMANDS |= {"serve"}
LARGEST_ROOM = 0.12  # of all lines
PACKAGE = ROOT / "segfocal"
FILES = sorted(PACKAGE.rglob("*.py"))
ROOMS = sorted(path for path in FILES if path.name == "__init__.py" and path.parent != PACKAGE)


def relative(path):
    return str(path.relative_to(ROOT))


def room_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def module_of(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@cache
def imported(path):
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_imports_go_strictly_downward(path):
    room = room_of(path)
    if room == "__init__":
        return
    for name in imported(path):
        parts = name.split(".")
        if parts[0] == "segfocal" and len(parts) > 1 and parts[1] in LAYERS and parts[1] != room:
            assert LAYERS[parts[1]] < LAYERS[room], f"{path}: {room} may not import {name}"
        assert room in ONLY_IN.get(parts[0], {room}), f"{path}: {name} belongs in {ONLY_IN[parts[0]]}"


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_files_stay_small_and_have_real_names(path):
    assert len(path.read_text().splitlines()) <= 300
    assert not FORBIDDEN & set(path.with_suffix("").parts[-2:])


def test_every_module_has_a_layer():
    assert {room_of(path) for path in FILES} - {"__init__"} == set(LAYERS)


def test_importing_the_package_imports_nothing_else():
    top = ast.parse((PACKAGE / "__init__.py").read_text()).body
    assert not [node for node in top if isinstance(node, (ast.Import, ast.ImportFrom))]


def test_no_circle_between_files():
    modules = {module_of(path): path for path in FILES}
    asked = {
        module: {name if name in modules else name.rpartition(".")[0] for name in imported(path)} & modules.keys()
        for module, path in modules.items()
    }
    TopologicalSorter({module: names - {module} for module, names in asked.items()}).prepare()  # raises CycleError


def test_a_file_name_stands_once():
    """A command may be named as its room is, and rooms of commands may repeat `page` or `summary`."""
    places = defaultdict(list)
    for path in FILES:
        if path.name != "__init__.py" and room_of(path) not in COMMANDS:
            places[path.name].append(relative(path))
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_no_room_holds_more_than_12_percent_of_the_lines():
    lines = Counter()
    for path in FILES:
        lines[room_of(path)] += len(path.read_text().splitlines())
    assert {room: n for room, n in lines.items() if n > LARGEST_ROOM * lines.total()} == {}


@pytest.mark.parametrize("path", ROOMS, ids=relative)
def test_a_room_says_where_to_start(path):
    text = ast.get_docstring(ast.parse(path.read_text())) or ""
    named = re.findall(r"`([\w/]+\.py)`", text)
    assert named, "a room's docstring names the file to read first"
    assert all((path.parent / name).is_file() for name in named), named
