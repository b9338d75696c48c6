"""Reads the tensors of a weight file without running any code that it holds."""

from __future__ import annotations

import pickle
import re
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from segfocal.errors import UserError

BUNDLED = "model.safetensors"  # the weights in a bundle's folder
STATE_KEYS = (
    "model",
    "state_dict",
    "model_state_dict",
    "model_state",
)  # where training programs put the weights beside the rest
_WRAPPERS = ("module.", "_orig_mod.")  # DistributedDataParallel, torch.compile
# What torch's unpickler raises where a file ends too soon: which of them depends on the place.
_CUT = (
    *(RuntimeError, EOFError, OSError, KeyError, ValueError, TypeError, AttributeError, IndexError),
    *(AssertionError, OverflowError, struct.error),
)
_OWNERS = ("model.", "sam.")  # attributes of a trainer, where SAM's parts lie below them
_PARTS = ("image_encoder.", "prompt_encoder.", "mask_decoder.")
_DEEPEST = 4  # mappings in each other
_LARGEST_HEADER = 100_000_000  # bytes, of a safetensors file
_EXPECTED = "a weight file: .safetensors, .pth or .pt, or a bundle"


@dataclass(frozen=True, kw_only=True, eq=False)
class WeightFile:
    """The tensors of a file by name, without the prefixes of wrappers. Only safetensors files have metadata."""

    path: Path
    tensors: dict[str, Tensor]
    metadata: dict[str, str] = field(default_factory=dict)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The tensors' shapes by name."""
        return {name: tuple(tensor.shape) for name, tensor in self.tensors.items()}


def read(path: str | Path) -> WeightFile:
    """Read a weight file, or a bundle's folder; tensors of large files stay on disk until they are used.

    Raises:
        UserError: no such file, a folder other than a bundle, a failed download, a damaged file, a file that holds
            other Python objects too, a file without tensors.
    """
    path = file_at(Path(path))
    kind = kind_of(path)
    if kind == "safetensors":
        return _read_safetensors(path)
    loaded = _read_torch(path, mapped=kind == "zip")
    tensors = state_in(loaded)
    if not tensors:
        raise _refused(
            path, found=f"no tensors by name but {type(loaded).__name__}", do="give the file of a state dict"
        )
    return WeightFile(path=path, tensors=tensors)


def file_at(path: Path) -> Path:
    """Return the file that holds the weights of `path`: itself, or a bundle's; UserError where there is none."""
    path = path.expanduser()
    if path.is_file():
        return path
    if not path.is_dir():
        raise _refused(path, found="no such file", do="check the path")
    if (path / BUNDLED).is_file():
        return path / BUNDLED
    inside = path / "bundle" / BUNDLED
    do = f"give {inside.parent}" if inside.is_file() else "give a file in it"
    raise _refused(path, found=f"a folder without {BUNDLED}", do=do)


def kind_of(path: Path) -> str:
    """Return "safetensors", "zip" (torch ≥ 1.6) or "pickle" (older) by a file's first bytes.

    Raises:
        UserError: anything else, and files that are cut short.
    """
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        raise _refused(path, found=error.strerror or str(error), do="check its permissions") from error
    start = head.lstrip().lower()
    if not head:
        raise _refused(path, found="an empty file", do="download it again")
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise _refused(path, found="a web page", do="download the file itself, not the page that links to it")
    if start.startswith(b"version https://git-lfs"):
        raise _refused(path, found="a Git LFS pointer, not the file it stands for", do="run git lfs pull there")
    if int.from_bytes(head[:8], "little") < _LARGEST_HEADER and head[8:9] == b"{":
        return "safetensors"
    if head.startswith(b"PK\x03\x04"):
        return _checked_zip(path)
    if head.startswith(b"\x80"):
        return "pickle"
    raise _refused(path, found=f"a file that begins with {head[:8]!r}", do="check the path, or unpack it first")


def state_in(loaded: Any) -> dict[str, Tensor]:
    """Return the tensors by name in what a file held: a state dict, or one under a usual key; {} if there is none.

    A pickle may hold a mapping that lies in itself: keys are followed a few deep, deeper than any program puts weights.
    """
    return _state_in(loaded, _DEEPEST)


def _state_in(loaded: Any, deepest: int) -> dict[str, Tensor]:
    if not isinstance(loaded, Mapping):
        return {}
    below = (_state_in(loaded.get(key), deepest - 1) for key in STATE_KEYS) if deepest else iter(())
    if found := next((found for found in below if found), {}):
        return found  # a tensor beside it, such as the best score, is none of the model's
    return _without_prefix({str(name): value for name, value in loaded.items() if isinstance(value, Tensor)})


def needs_pickles(path: Path, what: str, *, convertible: bool) -> UserError:
    """Return the error for a file whose reading would run code that it names."""
    command = f"take its tensors out, which runs none of it: segfocal weights convert {path} OUT.safetensors"
    return UserError(
        expected="a weight file of tensors only",
        found=f"one that also holds Python objects ({what}), which could run any code",
        where=path,
        do=command if convertible else "save its state dict alone again, with torch 1.6 or newer",
    )


def damaged(path: Path, reason: object) -> UserError:
    """Return the error for a file that cannot be read to its end."""
    line = (str(reason).splitlines() or [type(reason).__name__])[0]
    found = f"a damaged file of {path.stat().st_size:,} bytes, perhaps cut short ({line})"
    return _refused(path, found=found, do="download or copy it again")


def _refused(path: Path, *, found: str, do: str) -> UserError:
    return UserError(expected=_EXPECTED, found=found, where=path, do=do)


def _checked_zip(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            members = {name.rpartition("/")[2] for name in archive.namelist()}
    except (zipfile.BadZipFile, OSError) as error:
        raise damaged(path, error) from error
    if "constants.pkl" in members:
        raise _refused(path, found="a TorchScript program", do="give the state dict it was made from")
    if "data.pkl" not in members:
        raise _refused(path, found="another kind of zip archive", do="unpack it, and give the weight file in it")
    return "zip"


def _read_safetensors(path: Path) -> WeightFile:
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return WeightFile(path=path, tensors=_without_prefix(tensors), metadata=dict(file.metadata() or {}))
    except (SafetensorError, OSError) as error:
        raise damaged(path, error) from error


def _read_torch(path: Path, *, mapped: bool) -> Any:
    try:
        if path.suffix == ".safetensors":  # torch would go by that name
            with path.open("rb") as file:
                return torch.load(file, map_location="cpu", weights_only=True)
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL (\S+)", str(error))
        if named is None:
            raise damaged(path, "a pickle that torch did not write") from error
        raise needs_pickles(path, named[1], convertible=mapped) from error
    except _CUT as error:
        raise damaged(path, error) from error


def _without_prefix(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Take off what wrappers put before every name."""
    for prefix in (*_WRAPPERS, *_OWNERS):
        if not tensors or not all(name.startswith(prefix) for name in tensors):
            continue
        bare = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
        if prefix in _WRAPPERS or any(name.startswith((*_PARTS, *_WRAPPERS, *_OWNERS)) for name in bare):
            return _without_prefix(bare)
    return tensors
