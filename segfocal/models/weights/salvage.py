"""Salvages a weight file: takes its tensors out of a torch file that also holds other Python objects, and no code runs.

A pickle is a program that may name any function and call it. This reader knows the few names that make tensors and
dictionaries. Every other name becomes an empty placeholder class, and calling that does nothing. No name in the file is
imported or looked up.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from segfocal.errors import UserError
from segfocal.models.weights.reading import WeightFile, damaged, file_at, kind_of, state_in

_DTYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


class _Nothing:
    """The placeholder for any other object of the file: accepts every operation of a pickle and keeps nothing."""

    def __new__(cls, *_: Any, **__: Any) -> _Nothing:
        return object.__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __call__(self, *_: Any, **__: Any) -> _Nothing:
        return self

    def __setstate__(self, state: Any) -> None: ...

    def __setitem__(self, key: Any, value: Any) -> None: ...

    def append(self, value: Any) -> None:
        """Forget an element."""

    def extend(self, values: Any) -> None:
        """Forget elements."""


class Salvaged(NamedTuple):
    """The tensors of a file, and the names in it that placeholders replaced."""

    file: WeightFile
    ignored: tuple[str, ...]


def salvage(path: str | Path) -> Salvaged:
    """Return the tensors of a torch file by name. Other objects in it are left out, and none of its code is run.

    Raises:
        UserError: no such file, a file of another format or of torch before 1.6, a damaged file, no tensors by name.
    """
    path = file_at(Path(path))
    if kind_of(path) != "zip":
        raise UserError(
            expected="a .pth or .pt file written by torch 1.6 or newer",
            found="a file of another format",
            where=path,
            do="save its state dict again with a newer torch",
        )
    try:
        with zipfile.ZipFile(path) as archive:
            reader = _Reader(archive)
            loaded = reader.load()
    except Exception as error:  # a malformed pickle may raise anything at all
        raise damaged(path, error) from error
    tensors = state_in(loaded)
    if not tensors:
        raise UserError(
            expected="a file with tensors by name, at its top or under model or state_dict",
            found=f"none ({type(loaded).__name__.strip('_')} of {', '.join(reader.ignored[:3]) or 'other things'})",
            where=path,
            do="load it where it was written and save its state_dict()",
        )
    return Salvaged(WeightFile(path=path, tensors=tensors), tuple(reader.ignored))


class _Reader(pickle.Unpickler):
    """Reads data.pkl of an open archive."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        name = next(name for name in archive.namelist() if name.rpartition("/")[2] == "data.pkl")
        super().__init__(io.BytesIO(_stored(archive, name)), encoding="utf-8")
        self._archive, self._root = archive, name.removesuffix("data.pkl")
        self._storages: dict[str, Tensor] = {}
        self.ignored: list[str] = []

    def find_class(self, module: str, name: str) -> Any:
        """Return what a name of the file stands for: a maker of tensors or dictionaries, a dtype, a placeholder."""
        known: dict[tuple[str, str], Callable[..., Any]] = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch", "Size"): tuple,
            ("torch._utils", "_rebuild_tensor_v2"): lambda *given: _tensor(*given[:4]),
            ("torch._utils", "_rebuild_parameter"): lambda data, *_: data,
        }
        if (module, name) in known:
            return known[module, name]
        if module in ("torch", "torch.storage") and name in _DTYPES:
            return _DTYPES[name]
        self.ignored.append(f"{module}.{name}")
        return type("_Nothing", (_Nothing,), {})  # its own class each time: the file may change only that

    def persistent_load(self, pid: Any) -> Tensor:
        """Return a storage of the archive as a tensor of one axis."""
        kind, dtype, key, _, count = pid
        if kind != "storage" or not isinstance(dtype, torch.dtype):
            raise pickle.UnpicklingError(f"unknown storage {kind} {dtype}")
        key = str(key)
        if key not in self._storages:
            data = bytearray(_stored(self._archive, f"{self._root}data/{key}"))
            stored = torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)
            if len(stored) != count:
                raise pickle.UnpicklingError(f"storage {key} of {len(stored)} elements, not {count}")
            self._storages[key] = stored
        return self._storages[key]


def _tensor(storage: Tensor, offset: int, size: Sequence[int], stride: Sequence[int]) -> Tensor:
    """Return a view of a storage; torch itself checks that it lies inside."""
    if not isinstance(storage, Tensor):
        raise pickle.UnpicklingError("a tensor without a storage")
    return storage.as_strided(tuple(size), tuple(stride), int(offset))


def _stored(archive: zipfile.ZipFile, name: str) -> bytes:
    """Return a member of the archive; torch never compresses one, so nothing may unfold to more than the file."""
    if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:
        raise zipfile.BadZipFile(f"{name} is compressed")
    return archive.read(name)
