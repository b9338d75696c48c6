"""Random data folders: each case is read with its own channels, named as passed over, or an error; never silently gone.

Every file holds one number that says whose it is, so that a channel in the place of another cannot go unseen.
"""

import json
import os
import tempfile
import unicodedata
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from segfocal.data.cases import read_cases
from segfocal.errors import UserError
from segfocal.io import passed_over, volumes
from tests.pictures import make_png

CHANNELS = ("flair", "t1", "t2")
STRAY = 250  # what files hold that are nobody's
HARMLESS = {"none", "upper", "link", "accents", "moved"}  # read right all the same
QUIRKS = ("none", "none", "none", "upper", "link", "accents", "moved", "no label", "no image", "gap", "twice", "named")


def scan(path, value):
    """Write one number as a scan of a voxel, or as a picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() == ".png":
        return make_png(path.with_suffix(".png"), np.full((1, 1), value, np.uint8)).rename(path)
    image = nib.Nifti1Image(np.full((1, 1, 1), value, np.uint8), np.eye(4))
    plain = path.with_name(f"new{'.nii' if path.name.lower().endswith('.nii') else '.nii.gz'}")
    nib.save(image, plain)
    return plain.rename(path)


class Files:
    """Where a layout puts the files of a case, below a root."""

    def __init__(self, root, images, labels, ending=".nii.gz"):
        self.root, self.images, self.labels, self.ending = root, images, labels, ending

    def image(self, case, channel):
        return self.root / (self.images.format(case=case, channel=CHANNELS[channel], number=channel) + self.ending)

    def label(self, case):
        return self.root / (self.labels.format(case=case) + self.ending)


PLACES = {
    "numbers": ("images/{case}_{number:04d}", "labels/{case}"),
    "names": ("images/{case}_{channel}", "labels/{case}"),
    "pictures": ("images/{case}_{number:04d}", "labels/{case}_seg"),
    "nnunet": ("imagesTr/{case}_{number:04d}", "labelsTr/{case}"),
    "table": ("imagesTr/{case}_{number:04d}", "labelsTr/{case}"),
    "nnunet 1": ("imagesTr/{case}_{number:04d}", "labelsTr/{case}"),
    "first listed": ("imagesTr/{case}_{number:04d}", "labelsTr/{case}"),
    "brats": ("{case}/{case}_{channel}", "{case}/{case}_seg"),
    "bids": ("sub-{case}/anat/sub-{case}_{channel}", "sub-{case}/anat/sub-{case}_dseg"),
    "csv": ("all/{case}_{channel}", "all/{case}_label"),
    "jsonl": ("{case}/{channel}", "{case}/label"),
}


@st.composite
def plans(draw):
    """Draw a layout, how many channels, and what is odd about each case."""
    count = draw(st.integers(1, 4))
    quirks = draw(st.lists(st.sampled_from(QUIRKS), min_size=count, max_size=count))
    return {
        "layout": draw(st.sampled_from(sorted(PLACES))),
        "channels": draw(st.integers(1, 3)),
        "quirks": {f"c{number}é": quirk for number, quirk in enumerate(quirks)},
        "part": draw(st.integers(0, 3)),  # which file the quirk is about: a channel, or the label
    }


def lay_out(root, plan):
    """Write a plan; return the path that a command is given."""
    layout = plan["layout"]
    files = Files(root, *PLACES[layout], ".png" if layout == "pictures" else ".nii.gz")
    for number, (case, quirk) in enumerate(plan["quirks"].items()):
        paths = [*(files.image(case, channel) for channel in range(plan["channels"])), files.label(case)]
        for part, path in enumerate(paths):
            scan(path, 10 * number + part if path != paths[-1] else 100 + number)
        odd(quirk, paths, plan["part"] % len(paths), root)
    return write_list(root, files, plan)


def move_away(path, root, name):
    """Move a file or folder out of the data and leave a link to it."""
    away = root.with_name("away")
    away.mkdir(exist_ok=True)
    os.symlink(path.rename(away / name), path)


def odd(quirk, paths, part, root):
    """Do to the files of a case what its quirk says."""
    path, label = paths[part], paths[-1]
    image = paths[part % (len(paths) - 1)]
    if quirk == "upper":
        path.rename(path.with_name(volumes.stem(path) + path.name[len(volumes.stem(path)) :].upper()))
    elif quirk == "link":
        move_away(path, root, f"{path.parent.name}_{path.name}")
    elif quirk == "accents":
        path.rename(path.with_name(unicodedata.normalize("NFD", path.name)))
    elif quirk == "moved" and path.parent.parent == root and path.parent.name[0] == "c":  # a linked folder of a case
        move_away(path.parent, root, path.parent.name)
    elif quirk == "no label":
        label.unlink()
    elif quirk in ("no image", "gap"):
        for one in paths[:-1] if quirk == "no image" else [image]:
            one.unlink()
    elif quirk == "twice" and path.suffix == ".gz":
        scan(path.with_name(volumes.stem(path) + ".nii"), STRAY)
    elif quirk == "named":
        label.rename(label.with_name("other_" + label.name))


def write_list(root, files, plan):
    """Write what lists the cases, where a layout has such a file."""
    layout, cases, channels = plan["layout"], plan["quirks"], range(plan["channels"])

    def listed(case):
        images = [files.image(case, channel).relative_to(root).as_posix() for channel in channels]
        return images, files.label(case).relative_to(root).as_posix()

    described = {"labels": {"background": 0, "x": 1}}
    if layout == "csv":
        rows = [f"{case},{';'.join(listed(case)[0])},{listed(case)[1]}\n" for case in cases]
        (root / "list.csv").write_text("name,image,label\n" + "".join(rows), encoding="utf-8-sig")
        return root / "list.csv"
    if layout == "jsonl":
        rows = [{"name": case, "image": listed(case)[0], "label": listed(case)[1]} for case in cases]
        (root / "list.jsonl").write_text("\n".join(map(json.dumps, rows)))
        return root / "list.jsonl"
    if layout == "nnunet":
        described["channel_names"] = {str(channel): CHANNELS[channel] for channel in channels}
    elif layout == "table":
        described["dataset"] = {case: {"images": listed(case)[0], "label": listed(case)[1]} for case in cases}
    elif layout in ("nnunet 1", "first listed"):
        ending = "" if layout == "nnunet 1" else "_0000"
        rows = [{"image": f"imagesTr/{case}{ending}.nii.gz", "label": listed(case)[1]} for case in cases]
        described["training"] = rows
    else:
        return root
    (root / "dataset.json").write_text(json.dumps(described), encoding="utf-8-sig")
    return root


def value_of(path):
    return int(volumes.read_stored(path).array.ravel()[0])


def plain(text):
    return unicodedata.normalize("NFC", str(text))


def read_or_refused(root):
    """Return the cases, or None and the message."""
    try:
        return read_cases(root), ""
    except UserError as error:
        return None, str(error)


def check(plan):
    """Read a plan's folder: what is not an error is right, and what is not there is named."""
    with tempfile.TemporaryDirectory() as place:
        root = Path(place) / "data"
        root.mkdir()
        given_root = lay_out(root, plan)
        quirks = plan["quirks"]
        found, message = read_or_refused(given_root)
        event("read" if found else "an error")
        if found is None:
            assert set(quirks.values()) - HARMLESS, (plan, message)
            assert len(message.splitlines()) == 1
            assert len(message) < 700, "one line, no list of everything"
            return
        told = [plain(one.path) for one in found.passed_over]
        assert len(passed_over.lines(found.passed_over, root)) == len({one.reason for one in found.passed_over})
        read = {plain(case.name).removeprefix("sub-").removesuffix("_0000"): case for case in found.cases}
        seen = set()
        for number, (name, quirk) in enumerate(quirks.items()):
            case = read.pop(name, None)
            if case is None:
                gone = quirk == "no image" and plan["layout"] in ("csv", "jsonl", "table")
                assert not gone
                assert quirk not in HARMLESS, (plan, name)
                assert any(name in path for path in told), (plan, name, told)
                continue
            assert value_of(case.label) == 100 + number, (plan, name)
            seen.add(tuple(value_of(path) - 10 * number for path in case.images))
            if quirk == "twice" and plan["layout"] in ("numbers", "names", "nnunet", "brats", "bids"):
                raise AssertionError((plan, "one of two was taken"))
        assert not read, (plan, read)
        assert len(seen) <= 1, (plan, seen)  # every case has the same channels in the same order
        if seen and "gap" not in quirks.values():
            assert seen == {tuple(range(plan["channels"]))}, (plan, seen)


law = settings(deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))  # a busy machine is no fault


@given(plan=plans())
@settings(law, max_examples=100)
def test_no_case_is_silently_gone_and_no_channel_in_anothers_place(plan):
    check(plan)


@pytest.mark.slow
@given(plan=plans())
@settings(law, max_examples=1000)
def test_no_case_is_silently_gone_in_a_thousand_folders(plan):
    check(plan)
