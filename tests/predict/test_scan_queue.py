"""The scans that several commands share: each is handed out to one, and none that another has done meanwhile."""

from pathlib import Path

import pytest

from segfocal.predict import scan_queue
from segfocal.predict.inputs import Scan
from segfocal.predict.manifest import PARTS, Manifest
from segfocal.predict.parts import Claims
from segfocal.predict.scan_queue import AllScans, FreeScans


@pytest.fixture
def scans(tmp_path):
    for name in "abc":
        (tmp_path / name).write_bytes(b"scan")
    (tmp_path / PARTS).mkdir()
    return [Scan(name, tmp_path / name) for name in "abc"]


def queue_of(folder, scans, part):
    """A queue as a command has it, and its manifest."""
    manifest = Manifest(folder, "s", part=part)

    def settled(scan):
        return manifest.is_settled(scan, Path(scan.path), retry=True)

    return FreeScans(scans, Claims(folder), manifest, settled), manifest


def test_all_scans_come_in_order_in_one_pass(scans):
    assert [list(one) for one in AllScans(scans).passes()] == [scans]
    assert list(AllScans([]).passes()) == []


def test_each_scan_is_handed_out_to_one_command(scans, tmp_path, monkeypatch):
    first, of_first = queue_of(tmp_path, scans, "one")
    second, _ = queue_of(tmp_path, scans, "two")
    mine = next(first.passes())
    assert next(mine).name == "a"
    passes = second.passes()
    others = next(passes)
    taken = next(others)
    assert taken.name == "b"  # a is claimed
    of_first.add(scans[0], state="done", sha256={})
    first.ended(scans[0])
    assert next(mine).name == "c"  # b is claimed
    of_first.add(scans[2], state="failed", message="broken")
    first.ended(scans[2])
    assert list(others) == []  # c has failed since
    second.ended(taken)
    monkeypatch.setattr(scan_queue.time, "sleep", lambda _: pytest.fail("nothing is left to wait for"))
    assert list(passes) == []


def test_a_scan_of_another_command_comes_when_that_one_gives_it_up(scans, tmp_path, monkeypatch):
    other, (queue, _) = Claims(tmp_path), queue_of(tmp_path, scans[:1], "two")
    assert other.take("a")
    monkeypatch.setattr(scan_queue.time, "sleep", lambda _: other.release("a"))
    assert [list(one) for one in queue.passes()] == [scans[:1]]
