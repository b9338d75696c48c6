"""Sessions leave memory and stay on disk; what is damaged is passed over; a restart finds the same key and sessions."""

import stat
import time

import numpy as np
import pytest

from segfocal.serve.options import ServeLimits
from segfocal.serve.refusal import Refused
from segfocal.serve.sessions import keep_key
from tests.serve.served import LIVER, make_scans, sessions_in


@pytest.fixture
def clock(monkeypatch):
    """Let time pass by hand."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def begin(folder, **changes):
    sessions = sessions_in(folder, **changes)
    return sessions, [scan.id for scan in sessions.scans.all()]


def test_a_session_that_nobody_used_leaves_memory_and_comes_back(tmp_path, clock):
    make_scans(tmp_path)
    sessions, (one, two) = begin(tmp_path, limits=ServeLimits(idle_minutes=5))
    first = sessions.open(one)
    first.add_prompt("point", "liver", [LIVER])
    mask = first.mask()
    clock[0] += 299
    second = sessions.open(two)
    assert sessions.close_idle() == []
    clock[0] += 2
    assert sessions.close_idle() == [first.id]
    assert (sessions.loaded(first.id), sessions.loaded(second.id)) == (None, second)
    again = sessions.find(first.id)
    assert again is not first
    assert np.array_equal(again.mask(), mask)


def test_a_full_server_closes_what_was_at_rest_the_longest_and_nothing_in_use(tmp_path, clock):
    make_scans(tmp_path, "one", "two", "three")
    sessions, scans = begin(tmp_path, limits=ServeLimits(sessions=2))
    first, second = (sessions.open(scan) for scan in scans[:2])
    with pytest.raises(Refused, match="at most 2 scans open at a time"):
        sessions.open(scans[2])
    clock[0] += 61
    sessions.find(first.id)
    sessions.open(scans[2])
    assert sessions.loaded(first.id) is first
    assert sessions.loaded(second.id) is None


def test_work_that_goes_on_is_no_rest(tmp_path, clock):
    make_scans(tmp_path)
    sessions, (one, _) = begin(tmp_path)
    session = sessions.open(one)
    clock[0] += 1e6
    with session.progress.doing("carry"):
        assert sessions.close_idle() == []
    assert sessions.close_idle() == [session.id]


def test_damaged_sessions_are_passed_over_with_a_warning(tmp_path):
    make_scans(tmp_path)
    sessions, (one, two) = begin(tmp_path)
    names = [sessions.open(scan).id for scan in (one, two)]
    for name, text in zip(names, ('{"format": 1', '{"format": 99}'), strict=True):
        (tmp_path / "sessions" / name / "state.json").write_text(text)
    with pytest.warns(UserWarning, match="passed over"):
        again, _ = begin(tmp_path)
    assert again.all() == {}
    assert again.open(one).id not in names


def test_a_session_whose_scan_is_gone_is_refused_and_can_be_forgotten(tmp_path):
    make_scans(tmp_path)
    sessions, (one, _) = begin(tmp_path)
    name = sessions.open(one).id
    sessions.close(name)
    (tmp_path / "scans" / "one.nii.gz").unlink()
    with pytest.raises(Refused, match="the scan one") as refused:
        sessions.find(name)
    assert refused.value.status == 410
    sessions.forget(name)
    assert not (tmp_path / "sessions" / name).exists()


def test_the_key_is_made_once_and_is_nobody_elses(tmp_path):
    key = keep_key(tmp_path / "kept")
    assert keep_key(tmp_path / "kept") == key
    assert len(key) >= 32
    assert stat.S_IMODE((tmp_path / "kept" / ".key").stat().st_mode) == 0o600
    assert keep_key(tmp_path / "other") != key


def test_work_is_stopped_at_its_next_step_and_nothing_has_changed(tmp_path):
    make_scans(tmp_path)
    sessions, (one, _) = begin(tmp_path)
    session = sessions.open(one)
    session.add_prompt("point", "liver", [LIVER])
    mask, step = session.mask(), session.progress.step
    assert not session.progress.stop()  # there is no work

    def stop_at_the_third(index):
        if session.progress.told()["slices"] == 2:
            assert session.progress.told()["doing"] == "carry"
            session.progress.stop()
        step(index)

    session.progress.step = stop_at_the_third
    with pytest.raises(Refused, match="it was stopped"):
        session.carry()
    session.progress.step = step
    assert np.array_equal(session.mask(), mask)
    assert session.progress.told()["doing"] is None
    session.carry()
    assert session.mask().any((0, 1)).sum() == 7
