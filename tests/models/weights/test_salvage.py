"""Salvage: tensors come out of a file of any objects, and nothing in it runs."""

import pickle
import shutil
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

from segfocal.models.weights import read, salvage
from tests.models.weights.small_sam import refusal


class Attack:
    """Creates a file when it is unpickled in the ordinary way."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_code_in_a_file_is_not_run_when_its_tensors_are_taken_out(stock, tmp_path):
    torch.save({"model": stock, "args": Attack(tmp_path / "owned")}, path := tmp_path / "attack.pth")
    assert "Python objects" in refusal(read, path)
    taken = salvage(path)
    assert not (tmp_path / "owned").exists()
    assert any(name.endswith(("touch", "getattr")) for name in taken.ignored)
    assert set(taken.file.tensors) == set(stock)
    assert all(torch.equal(tensor, stock[name]) for name, tensor in taken.file.tensors.items())
    torch.load(path, weights_only=False)
    assert (tmp_path / "owned").exists()  # the attack is real


def test_all_kinds_of_tensors_are_taken_out_as_torch_reads_them(tmp_path):
    whole = torch.arange(24.0).reshape(4, 6)
    state = {
        "view": whole[1:3, ::2],
        "transposed": whole.T,
        "parameter": nn.Parameter(torch.ones(2)),
        "bfloat16": torch.tensor([1.5, -2], dtype=torch.bfloat16),
        "half": torch.tensor([1.5]).half(),
        "long": torch.tensor(7),
        "bool": torch.tensor([True, False]),
        "empty": torch.empty(0, 3),
    }
    torch.save({"model": state, "optimizer": torch.optim.SGD([torch.ones(1)])}, tmp_path / "kinds.pth")
    taken = salvage(tmp_path / "kinds.pth").file.tensors
    for name, tensor in state.items():
        assert taken[name].dtype == tensor.dtype
        assert torch.equal(taken[name], tensor), name


def rewritten(source, target, change):
    """Copy a torch archive with its pickle changed."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            new.writestr(name, change(data) if name.endswith("data.pkl") else data)


def out_of_bounds(data):
    """Return a pickle of one tensor that reaches past its storage of four numbers."""
    assert b"K\x04\x85" in data
    return data.replace(b"K\x04\x85", b"K\x64\x85", 1)


@pytest.mark.parametrize(
    "change",
    [
        out_of_bounds,
        lambda data: data[: len(data) // 2],
        lambda data: b"\x80\x02" + b"(" * 1000 + b".",
        lambda data: b"\x80\x02ctorch\nFloatStorage\n)R.",
        lambda data: b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.",
        lambda data: b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R.",
        lambda data: b"\x80\x02]\x94h\x00a.",
        lambda data: pickle.dumps({"a": [1]}, 2)[:-1] + b"cos\nsystem\n}b.",
    ],
)
def test_malformed_pickles_are_damaged_files_not_crashes(change, tmp_path):
    torch.save({"a": torch.arange(4.0)}, tmp_path / "good.pth")
    rewritten(tmp_path / "good.pth", tmp_path / "bad.pth", change)
    refusal(salvage, tmp_path / "bad.pth")


def test_names_in_a_pickle_are_neither_imported_nor_looked_up(tmp_path, monkeypatch):
    import builtins

    torch.save({"a": torch.ones(1)}, tmp_path / "good.pth")
    program = b"\x80\x02}X\x01\x00\x00\x00acsegfocal_of_nobody\nthing\n)Rs."
    rewritten(tmp_path / "good.pth", tmp_path / "odd.pth", lambda data: program)
    asked = []
    real = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", lambda name, *rest: asked.append(name) or real(name, *rest))
    refusal(salvage, tmp_path / "odd.pth")
    assert "segfocal_of_nobody" not in asked


def test_compressed_archives_are_refused_before_they_unfold(tmp_path):
    torch.save({"a": torch.zeros(4)}, tmp_path / "good.pth")
    shutil.copy(tmp_path / "good.pth", tmp_path / "bomb.pth")
    with zipfile.ZipFile(tmp_path / "good.pth") as old:
        members = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as new:
        for name, data in members.items():
            new.writestr(name, data)
    assert "compressed" in refusal(salvage, tmp_path / "bomb.pth")
