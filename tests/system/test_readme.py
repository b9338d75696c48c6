"""Every command and every piece of Python in README.md and docs is one that works."""

import re
import shlex

import numpy as np
import pytest
import yaml
from hydra import compose, initialize_config_dir

import segfocal
from segfocal.cli.app import conf_folder, register_resolvers
from segfocal.cli.composed import composed
from segfocal.structure import Structure
from tests import ROOT
from tests.random_bundle import MODEL as UNET
from tests.random_bundle import image, make_bundle
from tests.scans import make_scan

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PROMPTED = {"_target_": "segfocal.models.PromptUNet", "image_size": 16, "widths": [8, 8]}
# a line of code, or a piece of code in a line of text
COMMAND = re.compile(
    r"(?:^    (?:PYTHONPATH=\. )?|`)(?:segfocal |python scripts/)([a-z][a-z_-]*)(?:\.py)?([^`|#\n]*)", re.M
)


def commands():
    found = [
        (page.name, name.replace("-", "_"), options)
        for page in PAGES
        for name, options in COMMAND.findall(page.read_text())
    ]
    return [pytest.param(name, options, id=f"{page}:{name} {options.strip()}") for page, name, options in found]


@pytest.mark.parametrize(("name", "options"), commands())
def test_every_documented_command_composes(name, options):
    assert (ROOT / "scripts" / f"{name}.py").is_file()
    if "--config-dir" in options:  # docs/extend.md, which has a test of its own
        return
    if "launcher=ray" in options:
        pytest.importorskip("hydra_plugins.hydra_ray_launcher")
    words = [word for word in shlex.split(options) if word not in ("-m", "--help", "…", "---")]
    overrides = [word for word in words if not word.startswith("hydra.")]
    if name == "doctor" and overrides == ["FOLDER"]:  # short for data.root=FOLDER
        return
    if not (conf_folder() / f"{name}.yaml").is_file():  # compare takes folders
        assert not any("=" in word for word in words)
        return
    register_resolvers()
    with initialize_config_dir(version_base="1.3", config_dir=str(conf_folder())):
        # A sweep is composed with the first of its values.
        overrides = [re.sub(r"=(interval|range)\((\S+?),.*", r"=\2", o) for o in overrides]
        plain = [o if re.search(r"[\[{]", o) else re.sub(r"=([^,]+),.*", r"=\1", o) for o in overrides]
        assert compose(name, overrides=plain)


@pytest.fixture
def bundles_and_scan(tmp_path, monkeypatch):
    """A working folder with what the pages name: bundles of random weights, a scan, a label."""
    monkeypatch.chdir(tmp_path)
    liver, classes = (Structure(name="liver", value=5),), {"classes": 1, "widths": [4, 8, 8]}
    make_bundle(tmp_path / "runs/first/bundle", config={**UNET, **classes}, structures=liver)
    make_bundle(tmp_path / "runs/clicks/bundle", config=PROMPTED, needs_prompts=True)
    make_scan(tmp_path / "ct.nii.gz", image(3))
    make_scan(tmp_path / "label.nii.gz", np.where(image(3) > 0, 5, 0).astype(np.uint8))


@pytest.mark.usefixtures("bundles_and_scan")
@pytest.mark.parametrize("page", ["README.md", "docs/python.md"])
def test_the_python_of_a_page_runs(page):
    """Blocks of a page follow each other. One that trains, which takes minutes, is only held against the options."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), flags=re.S)
    assert blocks
    names = {}
    for block in blocks:
        code = compile(block, page, "exec")
        if "segfocal.train(" in block:
            given = re.search(r"segfocal\.train\((\{.*?\}), folder=", block)
            assert composed("train", eval(given[1])).config.target == "liver"
            continue
        exec(code, names)


def test_every_file_a_page_links_to_exists():
    for page in PAGES:
        for link in re.findall(r"\]\((?!http|#)([^)#]+)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_the_citation_names_this_version_and_licence():
    said = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert said["version"] == segfocal.__version__
    assert f'license = "{said["license"]}"' in (ROOT / "pyproject.toml").read_text()
    assert {"cff-version", "message", "title", "authors"} <= set(said)  # what the format asks for


def test_make_targets_of_the_readme_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^    make (\w+)", (ROOT / "README.md").read_text(), flags=re.M):
        assert f"\n{target}:" in makefile
