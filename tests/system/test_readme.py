"""Every command and every piece of Python in README.md and docs is one that works."""

import re
import shlex

import pytest
from hydra import compose, initialize_config_dir

from segfocal.cli.app import conf_folder, register_resolvers
from tests import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMAND = re.compile(r"python scripts/(\w+)\.py([^`|#\n]*)")


def commands():
    found = [(page.name, *match) for page in PAGES for match in COMMAND.findall(page.read_text())]
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
    if not (conf_folder() / f"{name}.yaml").is_file():  # compare takes folders
        assert not any("=" in word for word in words)
        return
    register_resolvers()
    with initialize_config_dir(version_base="1.3", config_dir=str(conf_folder())):
        # A sweep is composed with the first of its values.
        overrides = [re.sub(r"=(interval|range)\((\S+?),.*", r"=\2", o) for o in overrides]
        plain = [o if re.search(r"[\[{]", o) else re.sub(r"=([^,]+),.*", r"=\1", o) for o in overrides]
        assert compose(name, overrides=plain)


def test_the_python_of_the_readme_runs():
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.S)
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})


def test_every_file_a_page_links_to_exists():
    for page in PAGES:
        for link in re.findall(r"\]\((?!http|#)([^)#]+)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_make_targets_of_the_readme_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^    make (\w+)", (ROOT / "README.md").read_text(), flags=re.M):
        assert f"\n{target}:" in makefile
