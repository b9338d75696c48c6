"""`segfocal auto` from the command line: what it says before any training."""

import math
from pathlib import Path

import pytest

from segfocal.cli.cross_validate import print_outcome
from segfocal.cross_validate.results import Outcome
from tests.scans import make_sphere_cases
from tests.system.commands import segfocal


def test_without_a_cache_of_its_own_it_comes_as_far_as_its_plan_of_minutes(tmp_path, monkeypatch, capfd):
    """The default cache is named after `output`, which the configs of its recipes do not have."""
    root = make_sphere_cases(tmp_path / "data")
    options = [f"data.root={root}", "target=1", "minutes=0.01", f"output={tmp_path}/out"]
    assert segfocal(monkeypatch, "auto", *options) == 1
    assert "minutes" in capfd.readouterr().err


def test_cases_with_errors_are_counted_once(tmp_path, monkeypatch, capfd):
    root = make_sphere_cases(tmp_path / "data")
    image, *_ = sorted((tmp_path / "data" / "images").iterdir())
    image.write_bytes(image.read_bytes()[:200])
    options = [f"data.root={root}", "target=1", "minutes=9", f"output={tmp_path}/out"]
    assert segfocal(monkeypatch, "auto", *options) == 1
    assert "found errors in 1 of" in capfd.readouterr().err


def test_of_one_case_alone_no_metrics_are_printed(capsys):
    """It trained to its end and then failed on the table of no rows."""
    print_outcome(Outcome(judged=[], dice=math.nan), Path("mine"))
    said = capsys.readouterr().out
    assert "no case was held out" in said
    assert "nan" not in said
    assert "bundle" in said


@pytest.mark.parametrize(
    ("options", "name"),
    [(["data.root=scans"], "output"), (["output=made"], "data.root"), (["output=made", "data=csv"], "data.root")],
)
def test_what_has_no_default_is_named_as_it_is_typed(options, name, capsys, monkeypatch):
    """`cache` takes the value of `output`: what is missing is that."""
    assert segfocal(monkeypatch, "auto", "minutes=3", "target=1", *options) == 1
    assert f"config: {name} has no default: write {name}=VALUE. --help" in capsys.readouterr().err
