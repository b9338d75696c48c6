"""Prompts on a few slices of a scan in, logits of all its slices out.

From each prompted slice its answer is propagated to both sides, slice by slice, up to the next prompted one or until a
stopping rule ends it. Between two prompted slices both directions meet and are blended by distance.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor

from segfocal.inference.prompted.answer_cache import AnswerStore, Blend, Blends, Names, SliceAnswer, named
from segfocal.inference.prompted.combined_prompt import CombinedPrompt, combine
from segfocal.inference.prompted.prompt_windows import OUTSIDE
from segfocal.inference.prompted.propagation_options import PropagationOptions
from segfocal.inference.prompted.ready_volume import ReadyVolume, VolumeStore
from segfocal.inference.prompted.scan_prompts import PropagatedPrompts, Reach, SlicePrompt, Watch
from segfocal.inference.prompted.slice_model import SliceModel
from segfocal.inference.prompted.volume_model import VolumeModel
from segfocal.inference.sliding.sweep import Slab
from segfocal.models import PromptableModel
from segfocal.models.embeddings import EmbeddingCache

_FORMAT = 4  # of what is kept: another number where the same question gets another answer
_SURE = 4.0  # logits beyond it count as this where two directions meet: none is surer for its larger numbers


def propagate(
    prompts: PropagatedPrompts, image: Tensor, model: PromptableModel, *, device: torch.device, batch_size: int
) -> Iterator[Slab]:
    """Yield logits [k,n,h,w], a few slices at a time; what nothing reaches is background.

    Args:
        prompts: of the scan; `reached` is filled.
        image: the scan [c,d,h,w] in [0,1], on the model's grid.
        model: answers prompts.
        device: where the model is.
        batch_size: slices at a time.
    """
    ready = ready_for(prompts, image, model, device=device)
    blends = ready.propagated(prompts)
    depth = image.shape[1]
    for start in range(0, depth, batch_size):
        stop = min(start + batch_size, depth)
        yield Slab(start, stop, ready.logits(blends, start, stop))


def ready_for(
    prompts: PropagatedPrompts, image: Tensor, model: PromptableModel, *, device: torch.device
) -> ReadyScan | ReadyVolume:
    """Return a scan ready for prompts with the same options as these; the arguments are those of `propagate`."""
    if model.of_volumes:
        model.requires_grad_(False)
        volume = VolumeModel(
            image=image, model=model, spacing_mm=prompts.spacing_mm, change=prompts.options.change, device=device
        )
        name = signature(image, model, prompts.options, prompts.spacing_mm)
        return ReadyVolume(volume=volume, store=VolumeStore(prompts.session / name, volume.size))
    return ReadyScan.of(prompts, image, model, device=device)


@dataclass(frozen=True, kw_only=True, eq=False)
class ReadyScan:
    """A scan and a model ready for one set of prompts after another: what they share is made once.

    Args:
        slices: the model about the scan.
        store: what it answered.
    """

    slices: SliceModel
    store: AnswerStore

    @classmethod
    def of(
        cls, prompts: PropagatedPrompts, image: Tensor, model: PromptableModel, *, device: torch.device
    ) -> ReadyScan:
        """Return a scan ready for prompts with the same options as these; the arguments are those of `propagate`."""
        model.requires_grad_(False)
        slices = SliceModel(
            image=image,
            model=model,
            encode=EmbeddingCache(prompts.embeddings, model).encode,
            spacing_mm=prompts.spacing_mm,
            options=prompts.options,
            device=device,
        )
        name = signature(image, model, prompts.options, prompts.spacing_mm)
        return cls(slices=slices, store=AnswerStore(prompts.session / name))

    def propagated(self, prompts: PropagatedPrompts) -> list[Blends]:
        """Return, of each structure, what makes up each slice that holds an answer; `prompts.reached` is filled."""
        found = []
        for k in range(len(prompts.structures)):
            propagator = self._propagator(prompts, k)
            found.append(propagator.blends())
            prompts.reached[k] = propagator.reach
        return found

    def prompted(self, prompts: PropagatedPrompts, k: int) -> Blends:
        """Return what makes up the prompted slices of the k-th structure alone: the same as `propagated` has there."""
        return self._propagator(prompts, k).prompted()

    def logits(self, blends: Sequence[Blends], start: int, stop: int) -> Tensor:
        """Return the logits [k,n,h,w] of the slices from `start` to before `stop`."""
        logits = torch.full((len(blends), stop - start, *self.slices.size), OUTSIDE)
        for k, own in enumerate(blends):
            for z in range(start, stop):
                if z in own:
                    logits[k, z - start] = _blended(own[z], self.store, self.slices.size)
        return logits

    def _propagator(self, prompts: PropagatedPrompts, k: int) -> _Propagator:
        slices = replace(self.slices, options=replace(self.slices.options, reach_mm=prompts.options.reach_mm))
        own = [prompt for prompt in prompts.prompts if prompt.structure == k]
        return _Propagator(slices, self.store, own, watch=prompts.watch)


class _Propagator:
    """Answers the prompts of one structure, asking only for what is not kept."""

    def __init__(
        self, slices: SliceModel, store: AnswerStore, prompts: Sequence[SlicePrompt], *, watch: Watch | None
    ) -> None:
        self.slices, self.store, self.prompts, self.watch = slices, store, prompts, watch
        self.depth = slices.image.shape[1]
        self.reach = Reach(prompted={prompt.slice for prompt in prompts})
        self._known: dict[int, dict[int, Names]] = {0: {}}

    def blends(self) -> Blends:
        """Return what makes up each slice that holds an answer."""
        seeds = self._all_seeds()
        found = self._begun(seeds)
        places = sorted(seeds)
        for low, high in zip([None, *places], [*places, None], strict=True):
            found |= self._between(seeds, low, high)
        self.reach.answered = set(found)
        return found

    def prompted(self) -> Blends:
        """Return what makes up the prompted slices that hold an answer."""
        return self._begun(self._all_seeds())

    def _all_seeds(self) -> dict[int, Names]:
        """Return the answers of the prompted slices, asked in the order of the prompts.

        Otherwise each would ask for the one before it, as deep as there are points.
        """
        prompted: set[int] = set()
        for index, prompt in enumerate(self.prompts):
            if prompt.adds and prompt.slice not in prompted:
                self._seeds(index)
            prompted.add(prompt.slice)
        return self._seeds(len(self.prompts))

    def _begun(self, seeds: Mapping[int, Names]) -> Blends:
        begun = {z: tuple(name for name in names if not self.store.ended(name)) for z, names in seeds.items()}
        return {z: [(names, 1.0)] for z, names in begun.items() if names}

    def _seeds(self, count: int) -> dict[int, Names]:
        """Return the answers of the prompted slices as they are when the first `count` prompts were given.

        A slice with marks alone is asked with what the prompts before its first one propagate to it, so a prompt that
        is added never changes the answers of other prompted slices.
        """
        if count not in self._known:
            first: dict[int, int] = {}
            for index, prompt in enumerate(self.prompts[:count]):
                first.setdefault(prompt.slice, index)
            self._known[count] = {z: self._seed(z, count, index) for z, index in first.items()}
        return self._known[count]

    def _seed(self, z: int, count: int, first: int) -> Names:
        """Answer the prompts of one slice among the first `count`; the prompt `first` is the slice's first."""
        asked = combine(prompt for prompt in self.prompts[:count] if prompt.slice == z)
        return tuple(self._answer(z, given, first) for given in asked)

    def _answer(self, z: int, given: CombinedPrompt, first: int) -> str:
        propagated: Blend = [] if given.stands_alone else self._propagated(z, self._seeds(first))
        name = ""
        for asked in given.steps() if self.slices.options.change == "component" else [given]:
            earlier, name = name, named("prompted", z, asked.signatures, propagated, name)
            if self.store.ended(name) is None:
                canvas = _blended(propagated, self.store, self.slices.size) if propagated else None
                before = self.store.load(earlier).canvas(self.slices.size) if earlier else None
                self._asked(z, name, self.slices.ask(z, asked, canvas, before))
        return name

    def _propagated(self, z: int, seeds: Mapping[int, Names]) -> Blend:
        """Return what the prompted slices propagate to another slice."""
        low = max((place for place in seeds if place < z), default=None)
        high = min((place for place in seeds if place > z), default=None)
        return self._between(seeds, low, high, only=z).get(z, [])

    def _between(
        self, seeds: Mapping[int, Names], low: int | None, high: int | None, *, only: int | None = None
    ) -> Blends:
        """Return what two neighbouring prompted slices propagate to those between them, or to `only` one of these."""
        upward: dict[int, Names] = {}
        downward: dict[int, Names] = {}
        if low is not None:
            end = self.depth if high is None else high
            upward = self._chains(low, seeds[low], end if only is None else only + 1)
        if high is not None:
            end = -1 if low is None else low
            downward = self._chains(high, seeds[high], end if only is None else only - 1)
        blends: Blends = {z: [(names, 1.0)] for z, names in (upward | downward).items()}
        for z in upward.keys() & downward.keys():
            nearness = ((high or 0) - z) / ((high or 0) - (low or 0))
            blends[z] = [(upward[z], nearness), (downward[z], 1 - nearness)]
        return blends

    def _chains(self, start: int, names: Names, stop: int) -> dict[int, Names]:
        """Return for each slice the answers propagated to it from those of a prompted slice, each by itself."""
        found: dict[int, Names] = {}
        for name in names:
            for z, following in self._chain(start, name, stop):
                found[z] = (*found.get(z, ()), following)
        return found

    def _chain(self, start: int, name: str, stop: int) -> Iterator[tuple[int, str]]:
        """Yield slices and the answers propagated to them from a prompted slice, to before `stop` at most."""
        step = 1 if stop > start else -1
        for z in range(start + step, stop, step):
            if self.store.ended(name) or self._too_far(abs(z - start)):
                return
            following = named("carried", z, name)  # the word of sessions that are on disk
            if self.store.ended(following) is None:
                self._asked(z, following, self.slices.propagate(z, self.store.load(name)))
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
        if self.watch:
            self.watch(z)


def _blended(blend: Blend, store: AnswerStore, size: tuple[int, int]) -> Tensor:
    """Return the logits [h,w] of a slice."""
    parts = [(_joined(names, store, size), weight) for names, weight in blend]
    if len(parts) == 1:
        return parts[0][0]
    return torch.stack([canvas.clamp(-_SURE, _SURE) * weight for canvas, weight in parts]).sum(0)


def _joined(names: Names, store: AnswerStore, size: tuple[int, int]) -> Tensor:
    """Return the larger logit [h,w] of answers at each pixel."""
    canvases = [store.load(name).canvas(size) for name in names]
    return canvases[0] if len(canvases) == 1 else torch.stack(canvases).amax(0)


def signature(
    image: Tensor, model: PromptableModel, options: PropagationOptions, spacing_mm: tuple[float, float, float]
) -> str:
    """Return a name for all that answers depend on besides prompts.

    Args:
        image: the scan [c,d,h,w] as the model sees it.
        model: with its weights.
        options: all but how far answers are propagated, which is no part of one.
        spacing_mm: of the image's axes d, h, w.
    """
    total = hashlib.blake2b(digest_size=16)
    way = (
        model.image_size,
        model.channel_order,
        model.multimask,
        _numbers(model.pixel_mean),
        _numbers(model.pixel_std),
        *model.prompt_options,
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
