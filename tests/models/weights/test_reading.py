"""Reading: which files are weight files, and what is said about the others."""

import io
import pickle
import zipfile

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from segfocal.errors import UserError
from segfocal.models import load_weights
from segfocal.models.weights import read
from segfocal.models.weights.reading import state_in
from tests.models.weights.small_sam import refusal, small


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"model": state, "epoch": 3},
        lambda state: {"state_dict": state},
        lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
        lambda state: {"model": {f"module._orig_mod.{name}": tensor for name, tensor in state.items()}},
        lambda state: {f"model.{name}": tensor for name, tensor in state.items()},
        lambda state: {
            "model_state": {f"sam.{name}": tensor for name, tensor in state.items()},
            "epoch": 3,
        },  # micro-sam
        lambda state: {"model_state": state, "decoder_state": {"out.bias": torch.ones(1)}},  # micro-sam, exported
        lambda state: {"best_metric": torch.tensor(0.1), "model_state": state, "optimizer_state": {"state": {}}},
        lambda state: {"model": state, "optimizer": torch.optim.AdamW(nn.Linear(2, 2).parameters()).state_dict()},
    ],
)
def test_what_training_programs_put_around_the_weights_is_taken_off(wrap, stock, tmp_path):
    torch.save(wrap(stock), tmp_path / "wrapped.pt")
    assert load_weights(small(64), tmp_path / "wrapped.pt").loaded == len(stock)


def test_the_format_is_told_by_content_not_by_name(stock, tmp_path):
    save_file(stock, tmp_path / "a.pth")
    torch.save(stock, tmp_path / "b.safetensors")
    torch.save(stock, tmp_path / "c", _use_new_zipfile_serialization=False)
    for name in ("a.pth", "b.safetensors", "c"):
        assert load_weights(small(64), tmp_path / name).loaded == len(stock)


def test_reading_leaves_nothing_open(stock_file):
    read(stock_file)
    buffer = io.BytesIO(stock_file.read_bytes())
    assert torch.load(buffer, weights_only=True)


def write_pickled_optimizer(path, stock):
    layer = nn.Linear(2, 2)
    torch.save({"model": stock, "optimizer": torch.optim.Adam(layer.parameters())}, path)


def write_cut(path, stock):
    torch.save(stock, path)
    path.write_bytes(path.read_bytes()[:20_000])


def write_cut_safetensors(path, stock):
    save_file(stock, path)
    path.write_bytes(path.read_bytes()[:-100])


def write_cut_old(path, stock):
    torch.save(stock, path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes()[:20_000])


def write_program(path, stock):
    torch.jit.script(nn.Linear(2, 2)).save(str(path))


def write_archive(path, stock):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "weights")


BAD = {
    "pickled optimizer": (write_pickled_optimizer, "segfocal weights convert"),
    "truncated": (write_cut, "cut short"),
    "truncated safetensors": (write_cut_safetensors, "cut short"),
    "truncated, old format": (write_cut_old, "cut short"),
    "of nothing": (lambda path, stock: path.touch(), "an empty file"),
    "web page": (lambda path, stock: path.write_text("\n<!DOCTYPE html><html>"), "a web page"),
    "pointer": (lambda path, stock: path.write_text("version https://git-lfs\noid sha256:0"), "Git LFS pointer"),
    "directory": (lambda path, stock: path.mkdir(), "a folder without model.safetensors"),
    "missing": (lambda path, stock: None, "no such file"),
    "TorchScript": (write_program, "a TorchScript program"),
    "other zip": (write_archive, "another kind of zip"),
    "text": (lambda path, stock: path.write_text("weights"), "begins with"),
    "plain pickle": (lambda path, stock: path.write_bytes(pickle.dumps([1, 2])), "torch did not write"),
    "numbers only": (lambda path, stock: torch.save({"epoch": 3}, path), "no tensors by name"),
}


@pytest.mark.filterwarnings("ignore:Detected pickle protocol", "ignore:.*torch.jit")
@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_is_one_clear_line_that_names_it(kind, stock, tmp_path):
    write, words = BAD[kind]
    write(tmp_path / "weights.pth", stock)
    line = refusal(load_weights, small(64), tmp_path / "weights.pth")
    assert words in line
    assert str(tmp_path / "weights.pth") in line


def test_a_mapping_that_holds_itself_ends(tmp_path, stock):
    knot = {"state_dict": None, "model": {}}
    knot["state_dict"] = knot["model"]["model"] = knot
    assert state_in(knot) == {}
    knot["weight"] = torch.ones(2)
    assert list(state_in(knot)) == ["weight"]
    torch.save(knot, tmp_path / "knot.pt")
    assert list(read(tmp_path / "knot.pt").tensors) == ["weight"]


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("old", [False, True])
def test_a_file_cut_anywhere_is_refused_in_one_line(old, tmp_path):
    path = tmp_path / "weights.pth"
    torch.save(
        {"image_encoder.w": torch.arange(12.0), "b": torch.ones(3)}, path, _use_new_zipfile_serialization=not old
    )
    whole = path.read_bytes()
    for end in range(1, len(whole) - 1, 3 if old else 11):
        path.write_bytes(whole[:end])
        try:
            read(path)
        except UserError as error:
            assert str(path) in str(error)  # noqa: PT017
