"""Answers about single slices, kept on disk under a name of all that led to them.

A name is a hash over the scan, the model, the options, the prompt and, of a propagated one, the answer before it. An
answer that is found is therefore the one that would be given now; nothing in the folder can be out of date.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from segfocal.files import make_folder, written_beside
from segfocal.inference.prompted.prompt_windows import OUTSIDE

_RECENT = 4  # answers kept in memory: the last of each direction is asked for next

Names = tuple[str, ...]  # of the answers to boxes or objects apart from each other, which are joined
Blend = list[tuple[Names, float]]  # the answers that make up a slice, with weights that sum to one
Blends = dict[int, Blend]  # by slice, of a structure


@dataclass(frozen=True, kw_only=True, eq=False)
class SliceAnswer:
    """The answer about one slice; all around its part is background.

    Args:
        logits: [h,w], float16, of a part of the slice.
        top: of that part's corner, in pixels of the slice.
        left: of its corner too.
        ended: whether it is empty, so that nothing can be propagated from it.
        reference: mean intensity, in [0,1], of the mask on the prompted slice that it was propagated from.
    """

    logits: Tensor
    top: int = 0
    left: int = 0
    ended: bool = False
    reference: float = 0.0

    @staticmethod
    def nothing() -> SliceAnswer:
        """Return the answer that there is none of the structure on a slice."""
        return SliceAnswer(logits=torch.empty(0, 0, dtype=torch.float16), ended=True)

    @staticmethod
    def cut(canvas: Tensor, reference: float) -> SliceAnswer:
        """Keep the part of a slice's logits [h,w] that is not background for certain."""
        asked = canvas > OUTSIDE
        rows, columns = (asked.any(1 - axis).nonzero().flatten().tolist() or [0] for axis in (0, 1))
        part = canvas[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].to("cpu", torch.float16)
        return SliceAnswer(logits=part.contiguous(), top=rows[0], left=columns[0], reference=reference)

    def canvas(self, size: tuple[int, int]) -> Tensor:
        """Return the logits of the whole slice, float32."""
        whole = torch.full(size, OUTSIDE)
        h, w = self.logits.shape
        whole[self.top : self.top + h, self.left : self.left + w] = self.logits.float()
        return whole


class AnswerStore:
    """A folder of slice answers, of which few are in memory."""

    def __init__(self, folder: Path) -> None:
        make_folder(folder)
        self.folder = folder
        self._ended: dict[str, bool] = {}
        self._recent: OrderedDict[str, SliceAnswer] = OrderedDict()

    def ended(self, name: str) -> bool | None:
        """Return whether nothing can be propagated from an answer; None where there is no answer of that name."""
        if name not in self._ended:
            try:
                with safe_open(self._place(name), framework="pt") as file:
                    self._ended[name] = file.metadata()["ended"] == "True"
            except (OSError, SafetensorError, KeyError, TypeError):
                return None
        return self._ended[name]

    def load(self, name: str) -> SliceAnswer:
        """Return an answer that is there."""
        if name not in self._recent:
            with safe_open(self._place(name), framework="pt") as file:
                facts = file.metadata()
            self._remember(
                name,
                SliceAnswer(
                    logits=load_file(self._place(name))["logits"],
                    top=int(facts["top"]),
                    left=int(facts["left"]),
                    ended=facts["ended"] == "True",
                    reference=float(facts["reference"]),
                ),
            )
        return self._recent[name]

    def keep(self, name: str, answer: SliceAnswer) -> None:
        """Write an answer, whole or not at all."""
        facts = {key: str(getattr(answer, key)) for key in ("top", "left", "ended", "reference")}
        with written_beside(self._place(name)) as temporary:
            save_file({"logits": answer.logits}, temporary, metadata=facts)
        self._ended[name] = answer.ended
        self._remember(name, answer)

    def _remember(self, name: str, answer: SliceAnswer) -> None:
        self._recent[name] = answer
        while len(self._recent) > _RECENT:
            self._recent.popitem(last=False)

    def _place(self, name: str) -> Path:
        return self.folder / f"{name}.safetensors"


def named(*parts: object) -> str:
    """Return a name that differs wherever the parts do; each must have a faithful repr."""
    return hashlib.blake2b(repr(parts).encode(), digest_size=16).hexdigest()
