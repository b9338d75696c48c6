"""The site of docs: every page is in its menu, no link is broken, nothing is fetched from elsewhere."""

import re
import subprocess
import sys
from importlib.util import find_spec

import pytest

import segfocal
from tests import ROOT

CONFIG = (ROOT / "zensical.toml").read_text()
API = ROOT / "docs" / "reference" / "python.md"


def test_every_page_is_in_the_menu():
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert set(re.findall(r'= "([\w/]+\.md)"', CONFIG)) == pages


def test_the_api_has_every_public_name():
    documented = {name.rpartition(".")[2] for name in re.findall(r"^::: ([\w.]+)", API.read_text(), flags=re.M)}
    modules = {"losses", "metrics", "__version__"}
    assert documented >= set(segfocal.__all__) - modules
    assert documented >= set(segfocal.losses.__all__) - {"LossReport"}  # which WeightedSum returns


def test_every_command_with_options_is_in_the_reference():
    told = (ROOT / "docs" / "reference" / "options.md").read_text()
    assert set(re.findall(r'"conf/(\w+)\.yaml"', told)) == {path.stem for path in (ROOT / "conf").glob("*.yaml")}


@pytest.mark.slow
@pytest.mark.skipif(find_spec("zensical") is None, reason="needs the extra docs")
def test_the_site_builds_strictly_and_fetches_nothing():
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    pages = list((ROOT / "build" / "site").rglob("*.html"))
    assert len(pages) > 30
    fetched = re.compile(r'(?:<script|<img|<iframe)[^>]*src="(?:https?:)?//|<link[^>]*stylesheet[^>]*href="http')
    assert [page.name for page in pages if fetched.search(page.read_text())] == []
    assert "FocalLoss" in (ROOT / "build" / "site" / "reference" / "python.html").read_text()
