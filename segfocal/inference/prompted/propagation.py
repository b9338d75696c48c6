"""Prompts on a few slices of a scan in, logits of all its slices out.

From each prompted slice what was answered is carried to both sides, slice by slice, up to the next prompted one or
until a stopping rule ends it. Between two prompted slices both directions meet and are blended by distance.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from segfocal.inference.prompted.answer_cache import AnswerStore, SliceAnswer, named
from segfocal.inference.prompted.prompt_file import SlicePrompt, together
from segfocal.inference.prompted.prompt_windows import OUTSIDE
from segfocal.inference.prompted.slice_model import Propagation, SliceModel
from segfocal.inference.sliding.sweep import Slab
from segfocal.models import PromptableModel
from segfocal.models.embeddings import EmbeddingCache
from segfocal.structure import Structure

_FORMAT = 1  # of what is kept: another number where the same question gets another answer
_SURE = 4.0  # logits beyond it count as this where two directions meet: none is surer for its larger numbers

Shares = list[tuple[str, float]]  # the answers that make up a slice, by name, with weights that sum to one


@dataclass(kw_only=True)
class Reach:
    """How far one structure came: slices that were prompted, that hold an answer, and that were asked anew."""

    prompted: set[int] = field(default_factory=set)
    answered: set[int] = field(default_factory=set)
    asked: set[int] = field(default_factory=set)


@dataclass(frozen=True, kw_only=True, eq=False)
class PromptedScan:
    """Prompts of one scan, ready to be answered by a model on that scan's image.

    prompts: in the order in which they count. spacing_mm: of the model's grid.
    session: a folder where answers are kept, for this scan and any other. embeddings: one for those of the encoder.
    reached: filled while answering, for each structure.
    """

    prompts: Sequence[SlicePrompt]
    structures: Sequence[Structure]
    spacing_mm: tuple[float, float, float]
    session: Path
    embeddings: Path
    options: Propagation = field(default_factory=Propagation)
    batch_size: int = 8
    reached: dict[int, Reach] = field(default_factory=dict)

    def answered(self, image: Tensor, model: PromptableModel, device: torch.device) -> Iterator[Slab]:
        """Yield logits [k,n,h,w] of `image` [c,d,h,w], a few slices at a time; what nothing reaches is background."""
        model.requires_grad_(False)
        encode = EmbeddingCache(self.embeddings, model).encode
        slices = SliceModel(
            image=image, model=model, encode=encode, spacing_mm=self.spacing_mm, options=self.options, device=device
        )
        store = AnswerStore(self.session / signature(image, model, self.options, self.spacing_mm))
        shares = []
        for k in range(len(self.structures)):
            own = [prompt for prompt in self.prompts if prompt.structure == k]
            propagator = _Propagator(slices, store, own)
            shares.append(propagator.shares())
            self.reached[k] = propagator.reach
        depth = image.shape[1]
        for start in range(0, depth, self.batch_size):
            stop = min(start + self.batch_size, depth)
            logits = torch.full((len(shares), stop - start, *image.shape[2:]), OUTSIDE)
            for k, own_shares in enumerate(shares):
                for z in range(start, stop):
                    if z in own_shares:
                        logits[k, z - start] = _blended(own_shares[z], store, slices.size)
            yield Slab(start, stop, logits)

    def report(self) -> dict[str, Any]:
        """Return, of each structure and in total, how many slices were prompted, hold an answer, were asked anew."""
        counts = ("prompted", "answered", "asked")
        rows = {
            structure.name: {key: len(getattr(self.reached[k], key)) for key in counts}
            for k, structure in enumerate(self.structures)
        }
        total = {key: sum(row[key] for row in rows.values()) for key in counts}
        return {"slices": {**total, "of": rows}}


class _Propagator:
    """Answers the prompts of one structure, asking only for what is not kept."""

    def __init__(self, slices: SliceModel, store: AnswerStore, prompts: Sequence[SlicePrompt]) -> None:
        self.slices, self.store, self.prompts = slices, store, prompts
        self.depth = slices.image.shape[1]
        self.reach = Reach(prompted={prompt.slice for prompt in prompts})
        self._known: dict[int, dict[int, str]] = {0: {}}

    def shares(self) -> dict[int, Shares]:
        """Return what makes up each slice that holds an answer."""
        prompted: set[int] = set()
        for index, prompt in enumerate(self.prompts):
            if prompt.point_xy is not None and prompt.slice not in prompted:
                self._seeds(
                    index
                )  # in their order: else each would ask for the one before it, as deep as there are points
            prompted.add(prompt.slice)
        seeds = self._seeds(len(self.prompts))
        found: dict[int, Shares] = {z: [(name, 1.0)] for z, name in seeds.items() if not self.store.ended(name)}
        places = sorted(seeds)
        for low, high in zip([None, *places], [*places, None], strict=True):
            found |= self._between(seeds, low, high)
        self.reach.answered = set(found)
        return found

    def _seeds(self, count: int) -> dict[int, str]:
        """Return the answers of the prompted slices as they are when the first `count` prompts were given.

        A slice with points alone is asked with what the prompts before its first one carry there, so a prompt that is
        added never changes the answers of other prompted slices.
        """
        if count not in self._known:
            first: dict[int, int] = {}
            for index, prompt in enumerate(self.prompts[:count]):
                first.setdefault(prompt.slice, index)
            self._known[count] = {z: self._seed(z, count, index) for z, index in first.items()}
        return self._known[count]

    def _seed(self, z: int, count: int, first: int) -> str:
        """Answer the prompts of one slice among the first `count`; of these the `first` is the slice's first."""
        asked = together(prompt for prompt in self.prompts[:count] if prompt.slice == z)
        carried: Shares = [] if asked.stands_alone else self._carried(z, self._seeds(first))
        name = named("prompted", z, asked.signatures, carried)
        if self.store.ended(name) is None:
            canvas = _blended(carried, self.store, self.slices.size) if carried else None
            self._asked(z, name, self.slices.ask(z, asked, canvas))
        return name

    def _carried(self, z: int, seeds: Mapping[int, str]) -> Shares:
        """Return what the prompted slices carry to a slice that is none of them."""
        low = max((place for place in seeds if place < z), default=None)
        high = min((place for place in seeds if place > z), default=None)
        return self._between(seeds, low, high, only=z).get(z, [])

    def _between(
        self, seeds: Mapping[int, str], low: int | None, high: int | None, *, only: int | None = None
    ) -> dict[int, Shares]:
        """Return what two neighbouring prompted slices carry to those between them, or to `only` one of these."""
        upward: dict[int, str] = {}
        downward: dict[int, str] = {}
        if low is not None:
            end = self.depth if high is None else high
            upward = dict(self._chain(low, seeds[low], end if only is None else only + 1))
        if high is not None:
            end = -1 if low is None else low
            downward = dict(self._chain(high, seeds[high], end if only is None else only - 1))
        shares: dict[int, Shares] = {z: [(name, 1.0)] for z, name in (upward | downward).items()}
        for z in upward.keys() & downward.keys():
            nearness = ((high or 0) - z) / ((high or 0) - (low or 0))
            shares[z] = [(upward[z], nearness), (downward[z], 1 - nearness)]
        return shares

    def _chain(self, start: int, name: str, stop: int) -> Iterator[tuple[int, str]]:
        """Yield slices and the answers carried to them from a prompted slice to before `stop`, as far as it goes."""
        step = 1 if stop > start else -1
        for z in range(start + step, stop, step):
            if self.store.ended(name) or self._too_far(abs(z - start)):
                return
            following = named("carried", z, name)
            if self.store.ended(following) is None:
                self._asked(z, following, self.slices.carry(z, self.store.load(name)))
            if self.store.ended(following):
                return
            yield z, following
            name = following

    def _too_far(self, steps: int) -> bool:
        reach_mm = self.slices.options.reach_mm
        return reach_mm is not None and steps * self.slices.spacing_mm[0] > reach_mm

    def _asked(self, z: int, name: str, answer: SliceAnswer) -> None:
        self.store.keep(name, answer)
        self.reach.asked.add(z)


def _blended(shares: Shares, store: AnswerStore, size: tuple[int, int]) -> Tensor:
    """Return the logits [h,w] of a slice."""
    if len(shares) == 1:
        return store.load(shares[0][0]).canvas(size)
    parts = [store.load(name).canvas(size).clamp(-_SURE, _SURE) * weight for name, weight in shares]
    return torch.stack(parts).sum(0)


def signature(
    image: Tensor, model: PromptableModel, options: Propagation, spacing_mm: tuple[float, float, float]
) -> str:
    """Return a name for all that answers depend on besides prompts: the scan as the model sees it, model, options."""
    total = hashlib.blake2b(digest_size=16)
    way = (
        model.image_size,
        model.channel_order,
        model.multimask,
        _numbers(model.pixel_mean),
        _numbers(model.pixel_std),
    )
    spacing = tuple(round(mm, 6) for mm in spacing_mm)
    # How far a chain may go is no part of an answer.
    about = {key: value for key, value in asdict(options).items() if key != "reach_mm"}
    total.update(repr((_FORMAT, way, spacing, about, tuple(image.shape))).encode())
    for name, tensor in [("image", image), *model.state_dict().items()]:
        total.update(f"{name} {tensor.dtype}".encode())
        total.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return total.hexdigest()


def _numbers(value: float | Tensor) -> list[float]:
    return torch.as_tensor(value).flatten().tolist()
