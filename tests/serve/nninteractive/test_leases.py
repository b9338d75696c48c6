"""Leases end by their two clocks, and a full server says so."""

import pytest

from segfocal.serve.nninteractive.leases import Leases
from segfocal.serve.refusal import Refused


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def leases(clock):
    return Leases(most=2, idle_seconds=600.0, silent_seconds=60.0, clock=clock)


def test_a_full_server_is_503_until_a_lease_is_released(leases):
    first = leases.claim("one")
    leases.claim("two")
    with pytest.raises(Refused, match="at most 2 viewers") as told:
        leases.claim("three")
    assert (told.value.status, told.value.retry_seconds) == (503, 10)
    assert leases.release(first.token) == ["one"]
    assert leases.claim("three").held == "three"


def test_an_unknown_token_is_410_and_its_release_no_error(leases):
    for token in (None, "", "another"):
        with pytest.raises(Refused) as told:
            leases.find(token, acting=False)
        assert told.value.status == 410
        assert leases.release(token) == []


def test_a_heartbeat_keeps_a_lease_from_the_silence_and_not_from_idleness(leases, clock):
    lease = leases.claim("one")
    for _ in range(12):
        clock.now += 50
        leases.find(lease.token, acting=False)
        assert leases.release_ended() == []
    assert leases.remaining_seconds(lease) == 0
    clock.now += 1
    assert leases.release_ended() == ["one"]


def test_an_action_keeps_a_lease(leases, clock):
    lease = leases.claim("one")
    for _ in range(40):
        clock.now += 50
        leases.find(lease.token, acting=True)
    assert leases.remaining_seconds(lease) == 600
    clock.now += 61
    assert leases.release_ended() == ["one"]  # silent


def test_all_end_with_the_server(leases):
    leases.claim("one"), leases.claim("two")
    assert leases.release_all() == ["one", "two"]
    assert leases.release_all() == []
