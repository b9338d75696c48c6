"""A scan and a model of volumes ready for one set of prompts after another; the same questions as of `ReadyScan`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from segfocal.files import make_folder, written_beside
from segfocal.inference.prompted.answer_cache import Blends, Names, named
from segfocal.inference.prompted.prompt_windows import OUTSIDE
from segfocal.inference.prompted.scan_prompts import PropagatedPrompts, Reach, ScanPrompts, SlicePrompt, Watch
from segfocal.inference.prompted.volume_model import VolumeModel
from segfocal.inference.prompted.volume_prompt import VolumePrompt, objects_of
from segfocal.inference.sliding.sweep import Slab

_MOST_BYTES = 1 << 29  # of answers in memory


@dataclass(frozen=True, kw_only=True, eq=False)
class ReadyVolume:
    """A scan and a model of volumes ready for prompts.

    Args:
        volume: the model about the scan.
        store: what it answered.
    """

    volume: VolumeModel
    store: VolumeStore

    def propagated(self, prompts: PropagatedPrompts) -> list[Blends]:
        """Return, of each structure, what makes up each slice that holds an answer; `prompts.reached` is filled."""
        found = []
        for k in range(len(prompts.structures)):
            reach = prompts.reached[k] = Reach()
            found.append(self._answered(prompts, k, reach))
        return found

    def prompted(self, prompts: PropagatedPrompts, k: int) -> Blends:
        """Return what makes up the slices of the k-th structure: an answer is of the whole volume."""
        return self._answered(prompts, k, Reach())

    def logits(self, blends: Sequence[Blends], start: int, stop: int) -> Tensor:
        """Return the logits [k,n,h,w] of the slices from `start` to before `stop`."""
        logits = torch.full((len(blends), stop - start, *self.volume.size[1:]), OUTSIDE)
        for k, own in enumerate(blends):
            named_at = {z: own[z][0][0] for z in range(start, stop) if z in own}
            for name in dict.fromkeys(name for names in named_at.values() for name in names):
                answer = self.store.load(name, start, stop)
                for z in [z for z, names in named_at.items() if name in names]:
                    logits[k, z - start] = torch.maximum(logits[k, z - start], answer[z - start])
        return logits

    def _answered(self, prompts: PropagatedPrompts, k: int, reach: Reach) -> Blends:
        own = [prompt for prompt in prompts.prompts if prompt.structure == k]
        reach.prompted = {prompt.slice for prompt in own}
        if not own:
            return {}
        name = self._joined([self._answer(given, reach, prompts.watch) for given in objects_of(own)], own)
        near = [z for z in self.store.inside(name) if not self._too_far(z, own, prompts.options.reach_mm)]
        reach.answered = set(near)
        return {z: [((name,), 1.0)] for z in sorted(near)}

    def _joined(self, names: Sequence[str], prompts: Sequence[SlicePrompt]) -> str:
        """Return the name of the answers to several objects of a structure together, in which all its marks hold."""
        if len(names) == 1:
            return names[0]
        marks = [prompt for prompt in prompts if prompt.adds]
        name = named("joined", *names, [(mark.slice, mark.signature) for mark in marks])
        if not self.store.holds(name):
            self.store.keep(name, self.volume.joined([self.store.load(one) for one in names], marks))
        return name

    def _too_far(self, z: int, prompts: Sequence[SlicePrompt], reach_mm: float | None) -> bool:
        if reach_mm is None:
            return False
        return min(abs(z - prompt.slice) for prompt in prompts) * self.volume.spacing_mm[0] > reach_mm

    def _answer(self, given: VolumePrompt, reach: Reach, watch: Watch | None) -> str:
        """Return the name of the answer about an object, asking only for what is not kept."""
        name = ""
        for asked in given.steps():
            earlier, name = name, named("volume", asked.names, name)
            if self.store.holds(name):
                continue
            before = self.store.load(earlier) if earlier else None
            seen = asked.prompts[-1].slice
            watching = None if watch is None else lambda z=seen: watch(z)
            self.store.keep(name, self.volume.ask(asked, before, watch=watching))
            reach.asked |= {prompt.slice for prompt in asked.prompts}
        return name


class VolumeStore:
    """A folder of answers about a volume of `size`, of which those asked for last are in memory.

    An answer is kept in float16, and what is asked for next sees it so, whether it comes from disk or from memory.
    """

    def __init__(self, folder: Path, size: tuple[int, int, int]) -> None:
        make_folder(folder)
        self.folder, self.size = folder, size
        self._parts: dict[str, _Part] = {}
        self._inside: dict[str, frozenset[int]] = {}

    def holds(self, name: str) -> bool:
        """Return whether there is an answer of that name that can be read."""
        try:
            self.inside(name)
        except (OSError, SafetensorError, KeyError):
            return False
        return True

    def inside(self, name: str) -> frozenset[int]:
        """Return the slices on which an answer that is there has something inside."""
        if name not in self._inside:
            part = self._part(name)
            above = (part.logits > 0).flatten(1).any(1).nonzero().flatten() + part.corner[0]
            self._inside[name] = frozenset(above.tolist())
        return self._inside[name]

    def load(self, name: str, start: int = 0, stop: int | None = None) -> Tensor:
        """Return the logits [n,h,w], float32, of an answer that is there, from slice `start` to before `stop`."""
        part, stop = self._part(name), self.size[0] if stop is None else stop
        z, y, x = part.corner
        d, h, w = part.logits.shape
        whole = torch.full((stop - start, *self.size[1:]), OUTSIDE)
        low, high = max(start, z), min(stop, z + d)
        if high > low:
            whole[low - start : high - start, y : y + h, x : x + w] = part.logits[low - z : high - z].float()
        return whole

    def keep(self, name: str, logits: Tensor) -> None:
        """Write an answer [d,h,w], whole or not at all: the part that was asked about."""
        asked, corner, stop = logits > OUTSIDE, [], []
        for axis in range(3):
            held = asked.movedim(axis, 0).flatten(1).any(1).nonzero().flatten().tolist() or [0]
            corner.append(held[0])
            stop.append(held[-1] + 1)
        cut = logits[tuple(slice(low, high) for low, high in zip(corner, stop, strict=True))]
        cut = cut.to(torch.float16).contiguous()
        with written_beside(self._place(name)) as temporary:
            save_file({"logits": cut, "corner": torch.tensor(corner)}, temporary)
        self._remember(name, _Part(cut, (corner[0], corner[1], corner[2])))

    def _part(self, name: str) -> _Part:
        if name not in self._parts:
            kept = load_file(self._place(name))
            z, y, x = kept["corner"].tolist()
            self._remember(name, _Part(kept["logits"], (z, y, x)))
        return self._parts[name]

    def _remember(self, name: str, part: _Part) -> None:
        self._parts[name] = part
        while len(self._parts) > 1 and sum(one.logits.nbytes for one in self._parts.values()) > _MOST_BYTES:
            self._parts.pop(next(iter(self._parts)))

    def _place(self, name: str) -> Path:
        return self.folder / f"{name}.safetensors"


class _Part(NamedTuple):
    """The part of a volume that an answer is of: logits [d,h,w], float16, and its first voxel (z, y, x)."""

    logits: Tensor
    corner: tuple[int, int, int]


def answer_boxes_of_volume(prompts: ScanPrompts, volume: VolumeModel, *, batch_size: int) -> Iterator[Slab]:
    """Yield logits [k,n,h,w] of boxes on slices, each object's together; its slices without a box are OUTSIDE.

    Args:
        prompts: boxes.
        volume: the model about the scan.
        batch_size: slices at a time.
    """
    depth = volume.size[0]
    with TemporaryDirectory(prefix="segfocal_") as folder:
        store, blends = VolumeStore(Path(folder), volume.size), []
        for k in range(len(prompts.structures)):
            found: dict[int, Names] = {}
            for number, given in enumerate(objects_of([one for one in prompts.prompts if one.structure == k])):
                name = f"{k}_{number}"
                store.keep(name, volume.ask(given, None))
                for z in store.inside(name) & {prompt.slice for prompt in given.prompts}:
                    found[z] = (*found.get(z, ()), name)
            blends.append({z: [(names, 1.0)] for z, names in found.items()})
        ready = ReadyVolume(volume=volume, store=store)
        for start in range(0, depth, batch_size):
            stop = min(start + batch_size, depth)
            yield Slab(start, stop, ready.logits(blends, start, stop))
