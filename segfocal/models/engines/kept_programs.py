"""Converted networks on disk: beside the bundle, or in the user's cache where that folder is read-only or not theirs.

A file's name holds a hash of all that it was made of: weights, architecture, window, versions. What may be run is
recorded in the user's cache by its SHA-256, so a file that was changed, or that came with somebody's bundle, never is.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save_file

from segfocal.errors import UserError, note
from segfocal.files import read_json, write_json, written_beside
from segfocal.models.engines.engine import Program
from segfocal.models.weights.published import user_cache

FORMAT = 2  # raise when the same facts make another program
FOLDER = "engines"  # in the bundle's folder
_DIGITS = 16


@dataclass(frozen=True, kw_only=True)
class KeptProgram:
    """Where the program of one part of a model is kept.

    Args:
        bundle: its folder.
        title: of part and engine, as a file name.
        facts: all that the program depends on, as JSON values.
    """

    bundle: Path
    title: str
    facts: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The name of its file, without a suffix."""
        told = json.dumps({"format": FORMAT, **self.facts}, sort_keys=True, default=str)
        return f"{self.title}_{hashlib.sha256(told.encode()).hexdigest()[:_DIGITS]}"

    @property
    def _beside(self) -> Path:
        return self.bundle / FOLDER / f"{self.name}.safetensors"

    @property
    def _own(self) -> Path:
        return user_cache(FOLDER) / f"{self.name}.safetensors"

    @property
    def _record(self) -> Path:
        return user_cache(FOLDER) / f"{self.name}.json"

    def read(self) -> Program | None:
        """Return the program, None where there is none that this user made; one that was changed since is noted."""
        known, changed = self._known(), None
        for path in (self._beside, self._own) if known else ():
            try:
                data = path.read_bytes()
            except OSError:
                continue
            if hashlib.sha256(data).hexdigest() in known:
                try:
                    return {name: tensor.numpy().tobytes() for name, tensor in load(data).items()}
                except SafetensorError:  # written by another version
                    continue
            changed = path
        if changed is not None:
            note(f"{changed} is not as it was written: the network is converted again")
        return None

    def write(self, program: Program) -> None:
        """Keep a program; where nothing can be written that is noted, and the next command converts again."""
        known = self._known()
        beside = os.access(self.bundle, os.W_OK | os.X_OK) and (bool(known) or not self._beside.exists())
        path = self._beside if beside else self._own
        try:
            with written_beside(path) as temporary:
                save_file({name: _bytes(data) for name, data in program.items()}, temporary)
                written = hashlib.sha256(temporary.read_bytes()).hexdigest()
                write_json(self._record, {"made_of": dict(self.facts), "sha256": sorted({*known, written})})
        except (UserError, OSError) as error:
            note(f"the converted network cannot be kept: {error}")
            return
        if beside:
            self._clear_stale()

    def _clear_stale(self) -> None:
        """Remove what this user made beside the bundle of other weights or by other versions."""
        for path in self._beside.parent.glob(f"{self.title}_{'[0-9a-f]' * _DIGITS}.safetensors"):
            record = user_cache(FOLDER) / f"{path.stem}.json"
            if path != self._beside and record.is_file():
                path.unlink(missing_ok=True)
                record.unlink(missing_ok=True)

    def _known(self) -> set[str]:
        """Return the SHA-256 of the files of this name that this user made."""
        try:
            return set(map(str, read_json(self._record)["sha256"]))
        except (UserError, KeyError, TypeError):  # none, or damaged
            return set()


def _bytes(data: bytes) -> torch.Tensor:
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)
