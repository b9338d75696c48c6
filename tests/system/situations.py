"""Situations in which a command is given an output among the files that it reads, and what its writing changes."""

import contextlib
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from hypothesis import strategies as st

from segfocal.data.cases import read_cases
from segfocal.errors import UserError
from tests.scans import make_scan

LISTS = ("cases.csv", "metrics.csv", "results.csv", "parameters.csv", "scores.csv")
NAMES = (
    "label_names.json", "doctor.json", "fingerprint.json", "metrics.json", "summary.json", "run.json", "splits.json",
    "bundle.json", "model.json", "auto.json",
)  # fmt: skip
PLACES = ("images", "labels", "overlays", "experiment", "bundle", "predictions", "models", "fold_0", ".")
WHERE = ("new", ".", "images", "labels", "link", "new/../.", "link/images")
SCANS, ALL = ("", ".gz", ".safetensors"), ("", ".gz", ".safetensors", ".csv", ".json", ".png")


@st.composite
def situations(draw, commands):
    """A command with an output folder, and names and places of the files it reads."""
    return SimpleNamespace(
        command=draw(st.sampled_from(sorted(commands))),
        listing=draw(st.sampled_from(LISTS)),
        names=draw(st.sampled_from(NAMES)),
        images=draw(st.sampled_from(PLACES)),
        labels=draw(st.sampled_from(PLACES)),
        where=draw(st.sampled_from(WHERE)),
        case=draw(st.sampled_from(("a", "metrics", "A_0000", "b_mask"))),
        overwrite=draw(st.booleans()),
    )


def make_data(root, one):
    """Write two labelled scans with the list of them, one label almost whole so that doctor has something to mend."""
    rows = ["name,image,label,split"]
    for number, name in enumerate((one.case, "b")):
        array = np.zeros((5, 4, 3), np.float32)
        array[1:4, 1:3, 1] = 1.001 if number else 1
        image, label = root / one.images / f"{name}.nii.gz", root / one.labels / f"{name}_label.nii.gz"
        make_scan(image, np.random.default_rng(number).integers(-9, 99, (5, 4, 3)).astype(np.int16))
        make_scan(label, array)
        rows.append(f"{name},{image},{label},{'val' if number else 'train'}")
    (root / one.listing).write_text("\n".join(rows) + "\n")
    (root / one.names).write_text('{"1": "liver"}')
    (root / "link").symlink_to(root)


def plan_of(root, one):
    """Return what a training plan tells of the files it reads."""
    cases = read_cases(root / one.listing)
    config = f"data: {{root: {root / one.listing}, label_names: {root / one.names}}}"
    return SimpleNamespace(cases=cases, where=root / one.listing, weights=None, config=config, resume=None)


def fill(folder, names):
    """Write what a command claimed."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"written")


def bytes_of(root, suffixes=ALL):
    """Return the bytes of every file with one of some endings."""
    return {path: path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file() and path.suffix in suffixes}


def check_situation(one, commands, *, reads_scans_alone):
    """Run a command; every file that it reads, and without overwrite every file of the user's, stays as it was."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "data"
        root.mkdir()
        make_data(root, one)
        # With overwrite=true, tables that these do not read are theirs to replace; without it nothing is.
        read = SCANS if one.overwrite and one.command in reads_scans_alone else ALL
        before = bytes_of(root, read)
        with contextlib.suppress(UserError):
            commands[one.command](root, root / one.where, one)
        after = bytes_of(root, read)
        changed = [str(path.relative_to(root)) for path, content in before.items() if after.get(path) != content]
        assert changed == []
