"""One door for outputs: a file appears through segfocal.files, whole or not at all; who writes otherwise is listed."""

import re

import pytest

from tests import ROOT

PACKAGE = ROOT / "segfocal"
FILES = sorted(PACKAGE.rglob("*.py"))
WRITES = re.compile(
    r"""\.write_(text|bytes)\(|(?<!def )\bopen\([^)\n]*["'][wax]b?\+?["']|\.savefig\(|to_filename\(|nib\.save\("""
    r"""|np\.savez?\w*\(|torch\.save\(|\bsave_(file|model)\(|\.save_as\(|\.save\((?=temporary|str\(path)"""
    r"""|copyfile\(|copytree\(|shutil\.copy"""
)
DOOR = re.compile(r"with written_beside\(|_opened\(temporary\)|igzip_threaded")  # a temporary name, renamed after
# Written to elsewhere, each for a reason.
LISTED = {
    "files.py": "the door",
    "memory.py": "a switch of Linux, no file",
    "io/scratch.py": "nameless files of a running command",
    "io/nifti/packing.py": "a temporary folder",
    "predict/many.py": "one line at a time appended to the manifest",
    "predict/manifest_entries.py": "a line end appended to a manifest that was cut",
    "engine/record.py": "one row at a time appended to the record",
    "engine/checkpoint.py": "a folder that is renamed when it is whole",
    "data/store/prepare.py": "a folder that is renamed when it is whole",
    "data/store/stored_components.py": "into the folder that prepare renames when it is whole",
    "data/store/cache.py": "the lock of a workplace",
    "io/dicom/seg_writer.py": "a trial in memory; the file itself goes through the door",
    "models/engines/openvino_engine.py": "a temporary folder, and one that export moves when it is whole",
    "models/portable.py": "a folder that export moves when it is whole",
    "export/export.py": "a folder that is moved when it is whole",
    "serve/training_process.py": "what a process says, as it says it",
    "inference/ensemble.py": "second names of old members' files, while new ones are written",
}


def relative(path):
    return path.relative_to(PACKAGE).as_posix()


@pytest.mark.parametrize("path", [path for path in FILES if relative(path) not in LISTED], ids=relative)
def test_a_file_is_written_through_the_door(path):
    lines = path.read_text().splitlines()
    found = {
        number: line.strip()
        for number, line in enumerate(lines, start=1)
        if WRITES.search(line)
        and not any(DOOR.search(before) for before in lines[max(0, number - 5) : number])
        and not re.search(r"\b(write_text|write_json|write_table)\(", line)
    }
    assert found == {}


@pytest.mark.parametrize("name", sorted(LISTED))
def test_what_is_listed_is_still_there(name):
    assert (PACKAGE / name).is_file()
