"""The channels of cases: in every case the same, in the same order, or a network would be given one for another."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from segfocal.io.volumes import stem

FIRST = "0000"  # nnU-Net's number of the first channel
_NUMBER = re.compile(r"\d{4}")
_SEPARATORS = "_-. /"
_MODALITIES = frozenset(  # words that say what an image shows; a single image called otherwise may be called anything
    (
        *("t1", "t2", "t1w", "t2w", "t1c", "t1n", "t1ce", "t1gd", "t2f", "t2star", "flair", "pd", "pdw", "dwi", "adc"),
        *("swi", "dce", "asl", "bold", "mr", "mri", "mra", "ct", "cta", "cbct", "pet", "spect", "us"),
    )
)


@dataclass(frozen=True, kw_only=True)
class Channels:
    """The channels of a case.

    Args:
        case: its name.
        images: the file of each.
        names: what the layout calls each; () where it does not say, and of a list.
    """

    case: str
    images: tuple[Path, ...]
    names: tuple[str, ...] = ()


class OddChannels(NamedTuple):
    """A case whose channels are not those of the others, with what is wrong in words."""

    of: Channels
    expected: str
    found: str


def odd_channels(cases: Sequence[Channels], promised: Sequence[str] = ()) -> Iterator[OddChannels]:
    """Yield the cases whose channels are not those of most cases, by their names, or of a list by those of files.

    promised: the channels that the data set says every case has; () where it says nothing.
    """
    if not cases:
        return
    if any(case.names for case in cases):
        yield from _unlike(cases, promised)
        return
    usual = Counter(len(case.images) for case in cases).most_common(1)[0][0]
    model = next(case for case in cases if len(case.images) == usual)
    for case in cases:
        if len(case.images) != usual:
            yield OddChannels(
                of=case,
                expected=f"as many channels of every case, {usual} as {model.case} has",
                found=f"{len(case.images)} of {case.case}",
            )
    yield from _out_of_place(cases)


def _unlike(cases: Sequence[Channels], promised: Sequence[str]) -> Iterator[OddChannels]:
    """Yield the cases whose channels have other names than those of most, or of those promised."""
    cases = [case for case in cases if case.names]
    named = {id(case): _names(case) for case in cases}
    usual, times = Counter(named.values()).most_common(1)[0]
    numbered = any(_NUMBER.fullmatch(name) for case in cases for name in case.names)
    if numbered and not set(promised) <= set(usual):
        usual, times = tuple(promised), 0
    for case in cases:
        own = named[id(case)]
        alike = own == usual or (len(own) == len(usual) == 1 and not _are_told_apart(own[0], usual[0]))
        if alike and len(set(own)) == len(own):
            continue
        missing = [name for name in usual if name not in own]
        shown = ", ".join(own[:8]) + " …" * (len(own) > 8)
        why = f": {', '.join(missing[:4])} is missing" if missing else ""
        as_most = f" as {times} of {len(cases)} have" if times else " as dataset.json says"
        yield OddChannels(
            of=case,
            expected=f"the channels {', '.join(usual[:8])}{' …' * (len(usual) > 8)} of every case,{as_most}",
            found=f"{shown} of {case.case}{why}",
        )


def _names(case: Channels) -> tuple[str, ...]:
    """Return the channels of a case in small letters; a single image without any is the first."""
    names = tuple(name.lower() for name in case.names)
    return (FIRST,) if names == ("",) else names


def _are_told_apart(one: str, other: str) -> bool:
    """Return whether two single images are of different channels by their names."""
    words = [re.split(r"[_\-. ]+", name)[-1] for name in (one, other)]
    if all(_NUMBER.fullmatch(word) for word in words):
        return words[0] != words[1]
    return words[0] != words[1] and all(word in _MODALITIES for word in words)


def _out_of_place(cases: Sequence[Channels]) -> Iterator[OddChannels]:
    """Yield the cases of a list in which a channel has the place that another one has in most cases."""
    told = {case.case: _told(case.images) for case in cases if len(case.images) > 1}
    frames = Counter(frame for frame, _ in told.values())
    own = {name: channels for name, (frame, channels) in told.items() if frames[frame] == 1}
    if len(own) < 2:
        return
    usual = Counter(own.values()).most_common(1)[0][0]
    for case in cases:
        channels = own.get(case.case, usual)
        moved = next((n for n, c in enumerate(channels) if c in usual and usual[n : n + 1] != (c,)), None)
        numbers = all(_NUMBER.fullmatch(channel) for channel in (*channels, *usual))
        if moved is None and not (numbers and channels != usual):
            continue
        yield OddChannels(
            of=case,
            expected=f"the channels {', '.join(usual)} of every case, in this order",
            found=f"{', '.join(channels)} of {case.case}",
        )


def _told(images: Sequence[Path]) -> tuple[tuple[str, str], tuple[str, ...]]:
    """Return what the paths of a case have in common at both ends, and what tells its channels apart."""
    paths = [str(image.with_name(stem(image))).lower() for image in images]
    start = _to_separator(_shared_start(paths))
    rest = [path[len(start) :] for path in paths]
    end = _to_separator(_shared_start([path[::-1] for path in rest]))
    channels = tuple(path[: len(path) - len(end)] for path in rest)
    return (start, end[::-1]), channels


def _shared_start(texts: Sequence[str]) -> str:
    """Return the letters that all texts begin with."""
    first, last = min(texts), max(texts)
    return first[: next((n for n, letter in enumerate(first) if last[n : n + 1] != letter), len(first))]


def _to_separator(text: str) -> str:
    """Return the part of a text up to its last separator."""
    return text[: max(text.rfind(separator) for separator in _SEPARATORS) + 1]
