"""How the code reads: short functions, few parameters, one class a name, and docstrings that one can scan."""

import ast
from collections import defaultdict

import pytest

from tests import ROOT

FILES = sorted((ROOT / "segfocal").rglob("*.py"))
MOST_LINES, MOST_PARAMETERS = 50, 8
MOST_UNLISTED = 3  # parameters or fields that a sentence can carry


def relative(path):
    return str(path.relative_to(ROOT))


def functions_in(path):
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)]


def parameters_of(function):
    listed = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    return [one.arg for one in listed if one.arg not in {"self", "cls"}]


def fields_of(node):
    return [
        one.target.id
        for one in node.body
        if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name) and not one.target.id.startswith("_")
    ]


def public_in(path):
    """Yield (node, the parameters or fields its docstring owes a line)."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield node, parameters_of(node)
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            made = [one for one in node.body if isinstance(one, ast.FunctionDef) and one.name == "__init__"]
            yield node, parameters_of(made[0]) if made else fields_of(node)
            for one in node.body:
                if isinstance(one, ast.FunctionDef) and not one.name.startswith("_"):
                    yield one, parameters_of(one)


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_functions_are_short_and_take_few_parameters(path):
    long = {
        function.name: (lines, len(parameters_of(function)))
        for function in functions_in(path)
        if (lines := (function.end_lineno or 0) - function.lineno + 1) > MOST_LINES
        or len(parameters_of(function)) > MOST_PARAMETERS
    }
    assert long == {}


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_more_than_three_parameters_have_a_line_each(path):
    """The block is called Args: and names each; or the text refers to another function's arguments."""
    missing = {}
    for node, owed in public_in(path):
        if len(owed) <= MOST_UNLISTED:
            continue
        text = ast.get_docstring(node) or ""
        before, _, block = text.partition("Args:")
        unnamed = [] if "arguments" in before else [name for name in owed if f"{name}:" not in block]
        if unnamed:
            missing[node.name] = unnamed
    assert missing == {}


def test_a_class_name_stands_once():
    places = defaultdict(list)
    for path in FILES:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(relative(path))
    assert {name: found for name, found in places.items() if len(found) > 1} == {}
