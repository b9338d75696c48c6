"""Pages: one base for all, values escaped, pictures inside, and no name forgotten."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from jinja2 import UndefinedError
from PIL import Image

from segfocal.report.html import Picture, link, write_page
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


FILES = [
    "javascript:alert(1).nii",
    "data:text/html,x.nii",
    "a b?c#d.nii",
    '"><script>.nii',
    "//host.nii",
    "%41.nii",
    "é.nii",
]


@pytest.mark.parametrize("name", FILES)
def test_a_link_goes_to_the_file_whatever_its_name(tmp_path, name):
    url = link(tmp_path / "scans" / name, tmp_path / "out" / "page.html")
    parts = urlsplit(url)
    assert (parts.scheme, parts.netloc, parts.query, parts.fragment) == ("", "", "", "")
    assert not set(url) & set("<>\"' ")
    place = tmp_path / "out" / unquote(parts.path)
    assert Path(place).resolve() == (tmp_path / "scans" / name).resolve()


def test_a_link_beside_the_page_begins_no_scheme(tmp_path):
    assert link(tmp_path / "javascript:x.nii", tmp_path / "page.html") == "./javascript%3Ax.nii"


@pytest.mark.parametrize(
    "name", ["<script>a</script>", '" onload="a', "' onload='a", "{{ 7*7 }}", "</style><b>", "a\u202eb"]
)
def test_hostile_names_are_text_in_a_page(tmp_path, name):
    Image.new("L", (3, 2)).save(tmp_path / "a.png")
    page = RunPage(
        title=name,
        headlines={name: name},
        facts={name: name},
        rows=[{name: name}],
        pictures=[Picture(path=tmp_path / "a.png", caption=name)],
        commands=[name],
        notes=[name],
    )
    write_run_page(page, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert "<script" not in text
    assert 'onload="' not in text
    assert "onload='" not in text
    assert text.count("</style>") == 1
    assert "\u202e" not in text
