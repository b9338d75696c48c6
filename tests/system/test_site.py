"""The site of docs: every page is in its menu, no link is broken, nothing is fetched from elsewhere."""

import re
import subprocess
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from threading import Thread

import pytest

import segfocal
from tests import ROOT
from tests.serve.browser import chromium

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


@pytest.fixture(scope="module")
def site():
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return ROOT / "build" / "site"


needs_zensical = pytest.mark.skipif(find_spec("zensical") is None, reason="needs the extra docs")


@pytest.mark.slow
@needs_zensical
def test_the_site_builds_strictly_and_fetches_nothing(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 30
    fetched = re.compile(r'(?:<script|<img|<iframe)[^>]*src="(?:https?:)?//|<link[^>]*stylesheet[^>]*href="http')
    assert [page.name for page in pages if fetched.search(page.read_text())] == []
    assert "FocalLoss" in (site / "reference" / "python.html").read_text()


@pytest.mark.slow
@needs_zensical
def test_search_finds_a_word_in_a_browser_without_a_network(site):
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=site))
    Thread(target=server.serve_forever, daemon=True).start()
    with chromium() as browser:
        page, asked = browser.new_page(), []
        page.on("request", lambda request: asked.append(request.url))
        here = f"http://127.0.0.1:{server.server_port}/"
        page.goto(f"{here}index.html")
        page.wait_for_load_state("networkidle")  # keys go nowhere before the search has been loaded
        page.keyboard.press("Control+k")
        page.locator("input:focus").wait_for()
        page.keyboard.type("Hausdorff")
        page.get_by_text("Evaluate masks").last.wait_for()  # the way to the page, below a hit
        page.get_by_text(re.compile(r"^\d+ results?$")).first.wait_for()
    server.shutdown()
    assert [url for url in asked if not url.startswith((here, "data:", "blob:"))] == []
