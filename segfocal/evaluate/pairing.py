"""Which prediction belongs to which reference: files of two folders paired by their names."""

from __future__ import annotations

import glob
import itertools
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from segfocal.errors import UserError
from segfocal.io.file_names import composed
from segfocal.io.volumes import SUFFIXES, is_many, is_named, stem
from segfocal.plain_text import visible


@dataclass(frozen=True, kw_only=True)
class CaseFiles:
    """The files of one case; None for those that are not there.

    Args:
        name: of the case, that of its reference.
        reference: the true label map.
        prediction: the mask to judge.
        against: a second mask, to compare with the first.
        image: the scan, for pictures.
        probabilities: probability maps of the prediction.
    """

    name: str
    reference: Path
    prediction: Path | None
    against: Path | None = None
    image: Path | None = None
    probabilities: Path | None = None

    def without_folders(self, text: str) -> str:
        """Return a text about the case whose files are named from their folders on, as masks/a.nii.gz.

        Where folders have the same name, those above them tell them apart. Results that are passed on name no place on
        the machine they were made on.
        """
        given = (self.reference, self.prediction, self.against, self.image, self.probabilities)
        real = {path.parent: path.parent.resolve() for path in given if path and path.parts[0] in (path.anchor, "..")}
        real |= {place: place for place in real.values()}
        places = set(real.values())
        depth = next(n for n in itertools.count(1) if len({place.parts[-n:] for place in places}) == len(places))
        for folder in sorted(real, key=lambda folder: -len(str(folder))):
            name = "/".join(real[folder].parts[-depth:])
            text = text.replace(visible(f"{folder}{os.sep}"), visible(f"{name}/"))
        return text


def named_files(place: Path, *, what: str) -> dict[str, Path]:
    """Return the volumes of a folder, a pattern (out/*/mask.nii.gz, ** for any depth) or one file, by their names.

    A name is the file's without its ending, or the folder's where files have the same name, as out/*/mask.nii.gz.
    `what` the files are is said in messages.

    Raises:
        UserError: no such file, two of one name.
    """
    if place.is_dir():
        found = sorted(path for path in place.iterdir() if not path.is_dir() and _is_volume(path))
    elif is_many(place):
        found = sorted(Path(path) for path in glob.glob(str(place), recursive=True) if _is_volume(Path(path)))
    else:
        found = [place]
    if not found:
        raise UserError(
            expected=f"{what} ending in {', '.join(SUFFIXES)}", found="none", where=place, do="check the path"
        )
    for name in (stem, lambda path: path.parent.name):
        by_name = {composed(name(path)): path for path in found}
        if len(by_name) == len(found):
            return by_name
    stems = [stem(path) for path in found]
    twice = next(path for path in found if stems.count(stem(path)) > 1)
    raise UserError(
        expected=f"{what} of different names", found=f"two called {stem(twice)}", where=place, do="rename one"
    )


def match(references: Sequence[str], others: Sequence[str], *, what: str, several: bool = False) -> dict[str, str]:
    """Return for each reference the name that belongs to it, leaving out those without one.

    The same name first; then one that goes on at its start or end after a separator, as case_7_0000 of case_7 or the
    other way round, the longest such reference; and if no name fits so, what remains of both without the words that
    all references, and all others, begin or end with (case_7_label and case_7_mask). Names whose numbers or entities
    differ (sub-01 and sub-02) never belong together.

    Args:
        references: names of the references.
        others: names of the files to match with them.
        what: the others are, for messages.
        several: whether to take the first of several that fit, rather than refuse.

    Raises:
        UserError: two names fit one reference, or one name several.
    """
    same = {name: name for name in references if name in set(others)}
    rest = [name for name in references if name not in same], [name for name in others if name not in same]
    longer = _by_affix(*rest, what=what, several=several)
    if same or longer:
        return same | longer
    cores, other_cores = _cores(references), {core: name for name, core in _cores(others).items()}
    pairs = {name: other_cores[core] for name, core in cores.items() if core in other_cores}
    return {name: other for name, other in pairs.items() if not _differ(name, other)}


def case_files(
    references: Mapping[str, Path],
    predictions: Mapping[str, Path],
    *,
    against: Mapping[str, Path] | None = None,
    images: Mapping[str, Path] | None = None,
    probabilities: Mapping[str, Path] | None = None,
) -> list[CaseFiles]:
    """Return the cases, one for each reference.

    Args:
        references: files by name, as the next ones.
        predictions: of which at least one must belong to a reference.
        against: second predictions; None for none.
        images: scans, of which several may fit one reference; None for none.
        probabilities: maps of the predictions; None for none.

    Raises:
        UserError: two names fit one reference, or of some kind of file none fits any.
    """
    predicted = _belonging(references, predictions, what="prediction")
    second = _belonging(references, against, what="second prediction")
    pictured = _belonging(references, images, what="image", several=True)
    mapped = _belonging(references, probabilities, what="probability map")
    return [
        CaseFiles(
            name=name,
            reference=path,
            prediction=predicted.get(name),
            against=second.get(name),
            image=pictured.get(name),
            probabilities=mapped.get(name),
        )
        for name, path in references.items()
    ]


def _belonging(
    references: Mapping[str, Path], others: Mapping[str, Path] | None, *, what: str, several: bool = False
) -> dict[str, Path]:
    """Return the files of the others by reference; UserError when there are some and none fits."""
    if others is None:
        return {}
    found = match(list(references), list(others), what=what, several=several)
    if not found:
        raise UserError(
            expected=f"{what}s named like their references",
            found=f"{', '.join(sorted(others)[:3])} beside {', '.join(sorted(references)[:3])}",
            do="give them the same names, or one prefix or suffix each",
        )
    return {name: others[other] for name, other in found.items()}


def _is_volume(path: Path) -> bool:
    return is_named(path) and not path.name.startswith(".")


def _by_affix(references: Sequence[str], others: Sequence[str], *, what: str, several: bool) -> dict[str, str]:
    found: dict[str, str] = {}
    channels = all(other.endswith("_0000") for other in others)  # the ending that nnU-Net gives each scan
    for other in others:
        fitting = [name for name in references if _goes_on(other, name) or _goes_on(name, other)]
        fitting = [name for name in fitting if channels or not _is_sibling(other, name, references)]
        if not fitting:
            continue
        name = max(fitting, key=len)
        if len(name) > len(other) and len(fitting) > 1 and not several:
            raise UserError(
                expected=f"{what}s that belong to one reference each",
                found=f"{other}, which may belong to {fitting[0]} or {fitting[1]}",
                do="give it the whole name of its reference",
            )
        if name in found and not several:
            raise UserError(
                expected=f"one {what} for {name}",
                found=f"{found[name]} and {other}",
                do="choose among them with a pattern, as '*_mask.nii.gz'",
            )
        found.setdefault(name, other)
    return found


def _goes_on(longer: str, shorter: str) -> bool:
    """Return whether a name is another with something before or after it, set off by a character as _, - or a dot."""
    extra = len(longer) - len(shorter)
    if extra < 2:
        return False
    return (longer.startswith(shorter) and not longer[len(shorter)].isalnum()) or (
        longer.endswith(shorter) and not longer[extra - 1].isalnum()
    )


def _is_sibling(other: str, name: str, references: Sequence[str]) -> bool:
    """Return whether a number ends `other` where it ends other references too: word_0003 beside word and word_0001."""
    numbered = re.compile(re.escape(name) + r"[^0-9A-Za-z]+[0-9]+")
    return bool(numbered.fullmatch(other)) and any(numbered.fullmatch(each) for each in references)


def _differ(one: str, other: str) -> bool:
    """Return whether each of two names has a number that the other lacks, or an entity (sub-01) has two values."""
    numbers, others = (Counter(re.findall(r"[0-9]+", name)) for name in (one, other))
    if numbers - others and others - numbers:
        return True
    entities, more = (dict(re.findall(r"([A-Za-z]+)-([0-9A-Za-z]+)", name)) for name in (one, other))
    return any(more.get(key, value) != value for key, value in entities.items())


def _cores(names: Sequence[str]) -> dict[str, str]:
    """Return names without the words that all of them begin or end with; as they are where there is only one."""
    words = [re.split(r"[^0-9A-Za-z]+", name) for name in names]
    most = min((len(each) for each in words), default=1) - 1
    first = next((i for i in range(most) if len({each[i] for each in words}) > 1), most) if len(words) > 1 else 0
    last = next((i for i in range(most) if len({each[-1 - i] for each in words}) > 1), most) if len(words) > 1 else 0
    last = min(last, most - first)
    return {name: "_".join(each[first : len(each) - last]) for name, each in zip(names, words, strict=True)}
