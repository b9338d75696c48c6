"""The layer table: imports go strictly downward."""

import ast

import pytest

from tests import ROOT

LAYERS = {
    "cli": 6,
    "engine": 4,
    "report": 2,
    "compare": 4,
    "fingerprint": 4,
    "export": 4,
    "evaluate": 4,
    "predict": 4,
    "doctor": 4,
    "data": 3,
    "tasks": 3,
    "inference": 3,
    "io": 2,
    "models": 2,
    "losses": 1,
    "metrics": 1,
    "prompts": 1,
    "intensity": 1,
    "augment": 1,
    "resample": 1,
    "grid": 0,
    "batch": 0,
    "device": 0,
    "files": 0,
    "memory": 0,
    "parallel": 0,
    "errors": -1,
}
ONLY_IN = {
    "hydra": {"cli"},
    "omegaconf": {"cli"},
    "nibabel": {"io"},
    "PIL": {"io", "report"},
    "segment_anything": {"models"},
    "monai": {"models"},
    "pydicom": {"io"},
    "highdicom": {"io"},
}
FORBIDDEN = {"utils", "common", "helpers", "misc", "manager"}
FILES = sorted((ROOT / "segfocal").rglob("*.py"))


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_strictly_downward(path):
    room = path.relative_to(ROOT / "segfocal").parts[0].removesuffix(".py")
    if room == "__init__":
        assert not list(imported(path))
        return
    for name in imported(path):
        parts = name.split(".")
        if parts[0] == "segfocal" and len(parts) > 1 and parts[1] in LAYERS and parts[1] != room:
            assert LAYERS[parts[1]] < LAYERS[room], f"{path}: {room} may not import {name}"
        assert room in ONLY_IN.get(parts[0], {room}), f"{path}: {name} belongs in {ONLY_IN[parts[0]]}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_stay_small_and_have_real_names(path):
    assert len(path.read_text().splitlines()) <= 300
    assert not FORBIDDEN & set(path.with_suffix("").parts[-2:])


def test_every_module_has_a_layer():
    rooms = {p.relative_to(ROOT / "segfocal").parts[0].removesuffix(".py") for p in FILES} - {"__init__"}
    assert rooms == set(LAYERS)
