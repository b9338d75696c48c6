"""A scan and a model of volumes ready for one set of prompts after another; the same questions as of `ReadyScan`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from segfocal.files import make_folder, written_beside
from segfocal.inference.prompted.answer_cache import named
from segfocal.inference.prompted.prompt_windows import OUTSIDE
from segfocal.inference.prompted.scan_prompts import PropagatedPrompts, Reach, ScanPrompts, SlicePrompt, Watch
from segfocal.inference.prompted.volume_model import VolumeModel
from segfocal.inference.prompted.volume_prompt import VolumePrompt, objects_of

Names = tuple[str, ...]  # of the answers to objects apart from each other, which are joined
Blends = dict[int, list[tuple[Names, float]]]  # as those of `ReadyScan`, so that both can be asked alike


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
            for name in dict.fromkeys(name for names in named_at.values() for name in names):  # each is read once
                answer = self.store.load(name)
                for z in [z for z, names in named_at.items() if name in names]:
                    logits[k, z - start] = torch.maximum(logits[k, z - start], answer[z])
        return logits

    def _answered(self, prompts: PropagatedPrompts, k: int, reach: Reach) -> Blends:
        own = [prompt for prompt in prompts.prompts if prompt.structure == k]
        reach.prompted = {prompt.slice for prompt in own}
        names = tuple(self._answer(given, reach, prompts.watch) for given in objects_of(own))
        held = {name: (self.store.load(name) > 0).flatten(1).any(1).tolist() for name in names}
        found: Blends = {}
        for z in range(self.volume.size[0]):
            inside = tuple(name for name in names if held[name][z])
            if inside and not self._too_far(z, own, prompts.options.reach_mm):
                found[z] = [(inside, 1.0)]
        reach.answered = set(found)
        return found

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
    """A folder of answers about a volume of `size`, of which the last few are in memory.

    An answer is kept in float16, and what is asked for next sees it so, whether it comes from disk or from memory.
    """

    _RECENT = 4

    def __init__(self, folder: Path, size: tuple[int, int, int]) -> None:
        make_folder(folder)
        self.folder, self.size = folder, size
        self._recent: dict[str, Tensor] = {}

    def holds(self, name: str) -> bool:
        """Return whether there is an answer of that name that can be read."""
        if name in self._recent:
            return True
        try:
            self.load(name)
        except (OSError, SafetensorError, KeyError):
            return False
        return True

    def load(self, name: str) -> Tensor:
        """Return the logits [d,h,w] of an answer that is there."""
        if name not in self._recent:
            kept = load_file(self._place(name))
            self._remember(name, kept["logits"], kept["corner"])
        return self._recent[name]

    def keep(self, name: str, logits: Tensor) -> None:
        """Write an answer [d,h,w], whole or not at all: the part that was asked about."""
        places = (logits > OUTSIDE).nonzero()
        if not len(places):
            places = torch.zeros(1, 3, dtype=torch.long)
        low, high = places.amin(0), places.amax(0) + 1
        part = logits[tuple(slice(a, b) for a, b in zip(low.tolist(), high.tolist(), strict=True))]
        kept = part.to(torch.float16).contiguous()
        with written_beside(self._place(name)) as temporary:
            save_file({"logits": kept, "corner": low}, temporary)
        self._remember(name, kept, low)

    def _remember(self, name: str, part: Tensor, corner: Tensor) -> None:
        whole = torch.full(self.size, OUTSIDE)
        place = tuple(slice(a, a + n) for a, n in zip(corner.tolist(), part.shape, strict=True))
        whole[place] = part.float()
        self._recent[name] = whole
        while len(self._recent) > self._RECENT:
            self._recent.pop(next(iter(self._recent)))

    def _place(self, name: str) -> Path:
        return self.folder / f"{name}.safetensors"


def answer_boxes_of_volume(prompts: ScanPrompts, volume: VolumeModel) -> Tensor:
    """Return logits [k,d,h,w] of boxes on slices, each object's together; what lies on no slice with one is OUTSIDE."""
    logits = torch.full((len(prompts.structures), *volume.size), OUTSIDE)
    for k in range(len(prompts.structures)):
        own = [prompt for prompt in prompts.prompts if prompt.structure == k]
        boxed = sorted({prompt.slice for prompt in own})
        for given in objects_of(own):
            answer = volume.ask(given, None)
            logits[k, boxed] = torch.maximum(logits[k, boxed], answer[boxed])
    return logits
