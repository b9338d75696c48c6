"""Pages: one base for all, values escaped, pictures inside, and no name forgotten."""

import pytest
from jinja2 import UndefinedError
from PIL import Image

from segfocal.report.html import Picture, write_page
from segfocal.report.run_page import RunPage, write_run_page
from tests import ROOT

TEMPLATES = [path for path in (ROOT / "segfocal").rglob("*.html.j2") if path.name != "base.html.j2"]


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.parent.name)
def test_every_page_extends_the_base(template):
    text = template.read_text()
    assert text.startswith('{% extends "report/base.html.j2" %}')
    assert "<head>" not in text


def test_values_are_escaped_and_pictures_are_inside(tmp_path):
    Image.new("L", (3, 2)).save(tmp_path / "a.png")
    page = RunPage(
        title="<b>liver</b> & more",
        headlines={"Dice": "0.5"},
        facts={},
        rows=[{"structure": "<i>liver", "dice": 0.25}],
        pictures=[Picture(path=tmp_path / "a.png", caption="a slice")],
        commands=["python a > b"],
        notes=[],
    )
    write_run_page(page, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert text.startswith("<!doctype html>")
    assert text.count("&lt;b&gt;liver&lt;/b&gt; &amp; more") == 2  # the title and the heading
    for shown in ("&lt;i&gt;liver", "<td>0.250</td>", "python a &gt; b", "data:image/png;base64,"):
        assert shown in text
    assert "a.png" not in text


def test_a_name_that_a_template_lacks_is_an_error_and_writes_nothing(tmp_path):
    with pytest.raises(UndefinedError, match="title"):
        write_page(tmp_path / "page.html", "compare/page.html.j2", {})
    assert list(tmp_path.iterdir()) == []
