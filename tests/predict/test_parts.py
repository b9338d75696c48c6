"""Several commands on one folder: parts hold each scan once, manifests become one, a name is held by one at a time."""

import json
import random
from pathlib import Path

import pytest

from segfocal.errors import UserError
from segfocal.predict import parts
from segfocal.predict.inputs import Scan
from segfocal.predict.manifest import MANIFEST, PARTS, Manifest
from segfocal.predict.parts import Claims, Part, own_manifest, worker_files, worker_part
from tests.holder import holding

SCANS = [Scan(f"p{number}.nii.gz", Path(f"/scans/p{number}.nii.gz")) for number in range(23)]


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Leases that are free after a tenth of a second."""
    monkeypatch.setattr(parts, "LEASE_SECONDS", 0.1)


def lines(folder):
    return [json.loads(line) for line in (folder / MANIFEST).read_text().splitlines()]


@pytest.mark.parametrize("count", [1, 2, 7, 23, 30])
def test_parts_hold_each_scan_once(count):
    chosen = [scan for number in range(count) for scan in Part(number=number + 1, count=count).chosen(SCANS)]
    assert sorted(chosen) == sorted(SCANS)


def test_an_option_is_a_part_or_auto():
    assert Part.of("3/16") == Part(number=3, count=16)
    assert Part.of("auto").chosen(SCANS) == SCANS
    assert Part.of("auto").name != Part.of("auto").name


@pytest.mark.parametrize("text", ["0/4", "5/4", "3", "a/b", "-1/2", "1/2/3", "", "1/99999999"])
def test_another_part_is_one_line(text):
    with pytest.raises(UserError, match=f"part={text}"):
        Part.of(text)


def test_manifests_of_parts_in_any_order_become_one(tmp_path):
    order = [Part(number=number, count=5) for number in (4, 1, 5, 2, 3)]
    for part in order:
        with own_manifest(tmp_path, "s", part) as manifest:
            for scan in part.chosen(SCANS):
                manifest.add(scan, state="done", sha256={})
    assert sorted(line["name"] for line in lines(tmp_path)) == sorted(scan.name for scan in SCANS)
    assert not (tmp_path / PARTS).exists()


def test_what_a_killed_part_and_its_workers_wrote_is_read_by_all_and_joins_later(tmp_path):
    killed = Manifest(tmp_path, "s", part="1_of_2")
    (tmp_path / PARTS).mkdir()
    killed.add(SCANS[0], state="writing")
    Manifest(tmp_path, "s", part=worker_part(killed, "w")).add(SCANS[1], state="begun")
    with own_manifest(tmp_path, "s", Part(number=2, count=2)) as other:
        assert other.trusts(SCANS[0])
        assert other.entry(SCANS[1].name)["state"] == "begun"
    with own_manifest(tmp_path, "s", Part(number=1, count=2)) as again:
        assert worker_files(again) == []  # joined at the start
        assert again.trusts(SCANS[0])
    with own_manifest(tmp_path, "s", None) as whole:
        assert whole.trusts(SCANS[0])
    assert [line["name"] for line in lines(tmp_path)] == [SCANS[0].name, SCANS[1].name]
    assert not (tmp_path / PARTS).exists()


def test_what_another_did_after_a_killed_part_began_it_stays_done_when_that_part_is_read_later(tmp_path):
    (tmp_path / PARTS).mkdir()
    Manifest(tmp_path, "s", part="auto_killed").add(SCANS[0], state="begun")
    with own_manifest(tmp_path, "s", Part()) as manifest:
        manifest.add(SCANS[0], state="begun")
        manifest.add(SCANS[0], state="done", sha256={})
    with own_manifest(tmp_path, "s", None) as manifest:  # the killed one's part joins
        assert manifest.entry(SCANS[0].name)["state"] == "done"
    assert [line["state"] for line in lines(tmp_path)] == ["begun", "done"]
    again = Manifest(tmp_path, "s")
    again.read()
    assert again.entry(SCANS[0].name)["state"] == "done"


def test_lines_of_a_worker_that_have_joined_before_the_command_was_killed_join_once(tmp_path):
    (tmp_path / PARTS).mkdir()
    command = Manifest(tmp_path, "s")
    worker = Manifest(tmp_path, "s", part="all--worker1")
    for number, scan in enumerate(SCANS[:2]):
        worker.add(scan, state="begun")
        worker.add(scan, state="done", sha256={})
        if number == 0:
            command.absorb(worker.path)
    with own_manifest(tmp_path, "s", None):
        pass
    assert [line["name"] for line in lines(tmp_path) if line["state"] == "done"] == [scan.name for scan in SCANS[:2]]


def test_a_mask_that_a_worker_made_again_is_recorded_as_it_is_now(tmp_path):
    (tmp_path / PARTS).mkdir()
    command = Manifest(tmp_path, "s")
    command.add(SCANS[0], state="done", sha256={"p0.nii.gz": "old"})
    worker = Manifest(tmp_path, "s", part="all--worker1")
    worker.add(SCANS[0], state="begun")
    worker.add(SCANS[0], state="done", sha256={"p0.nii.gz": "new"})
    command.absorb(worker.path)
    assert command.entry(SCANS[0].name)["sha256"] == {"p0.nii.gz": "new"}
    again = Manifest(tmp_path, "s")
    again.read()
    assert again.entry(SCANS[0].name)["sha256"] == {"p0.nii.gz": "new"}


def test_no_other_command_for_all_or_for_the_same_part_while_a_part_is_at_work(tmp_path):
    at_work = Part(number=1, count=2)
    with own_manifest(tmp_path, "s", at_work) as manifest:
        manifest.add(SCANS[0], state="begun")
        for other in (None, at_work):
            with pytest.raises(UserError, match="at work on part 1/2"), own_manifest(tmp_path, "s", other):
                pass
    with own_manifest(tmp_path, "s", None) as whole:
        assert whole.entry(SCANS[0].name)["state"] == "begun"


def test_a_part_is_refused_where_a_command_for_all_is_at_work(tmp_path):
    with (
        holding(tmp_path),
        pytest.raises(UserError, match="another segfocal process"),
        own_manifest(tmp_path, "s", Part()),
    ):
        pass


def test_a_name_is_held_by_one_at_a_time(tmp_path):
    one, other = Claims(tmp_path), Claims(tmp_path)
    order = random.Random(0).sample(SCANS, len(SCANS))
    held = [(scan.name, one.take(scan.name), other.take(scan.name)) for scan in order]
    assert {taken[1:] for taken in held} == {(True, False)}
    one.release(SCANS[3].name)
    assert other.take(SCANS[3].name)
    assert not one.take(SCANS[3].name)
    one.release_all()
    other.release_all()
    assert not list((tmp_path / PARTS).glob("*"))
