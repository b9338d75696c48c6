"""The time guard of benchmarks/gpu.py: shares of the time, what is left out, and what fails."""

from dataclasses import replace

import pytest
import torch
from gpu_checks.budget import LeftOut, Part, in_turn
from gpu_checks.row import Row

CPU = torch.device("cpu")


def taking(clock, seconds, seen=None):
    """A check that notes the seconds it was given, and takes some."""

    def check(device, budget):
        if seen is not None:
            seen.append(budget.seconds)
        clock.now += seconds
        return [Row(verdict="pass")]

    return check


def verdicts(parts, budget):
    return {row.name: row.verdict for row in in_turn(parts, CPU, budget)}


def test_time_that_a_part_leaves_goes_to_those_after_it_by_their_shares(clock, budget):
    seen = []
    parts = [Part(name=str(share), check=taking(clock, 10, seen), share=share) for share in (50, 30, 20)]
    assert set(verdicts(parts, budget).values()) == {"pass"}
    assert seen == pytest.approx([50, 90 * 30 / 50, 80])


def test_a_part_for_which_no_time_is_left_is_left_out_by_name_and_not_begun(clock, budget):
    seen = []
    parts = [Part(name="long", check=taking(clock, 101)), Part(name="next", check=taking(clock, 1, seen))]
    assert verdicts(parts, budget) == {"long": "pass", "next": "left out"}
    assert not seen


@pytest.mark.parametrize(("full", "verdict"), [(True, "left out"), (False, "pass")])
def test_a_part_with_less_than_it_needs_is_not_begun_with_the_sizes_of_a_gpu(clock, budget, full, verdict):
    parts = [Part(name="first", check=taking(clock, 1)), Part(name="large", check=taking(clock, 1), least=99.5)]
    assert verdicts(parts, replace(budget, full=full))["large"] == verdict


def test_an_exception_is_a_failed_row_of_one_line_and_the_rest_goes_on(clock, budget):
    def broken(device, budget):
        raise RuntimeError("\nno kernel\nfor this device")

    rows = list(in_turn([Part(name="broken", check=broken), Part(name="next", check=taking(clock, 1))], CPU, budget))
    assert [(row.name, row.verdict) for row in rows] == [("broken", "fail"), ("next", "pass")]
    assert rows[0].found == "RuntimeError: no kernel"


def test_a_check_that_finds_that_it_does_not_fit_is_left_out_with_its_reason(budget):
    def late(device, budget):
        raise LeftOut("the rest would take 9 s")

    row = next(in_turn([Part(name="late", check=late)], CPU, budget))
    assert (row.verdict, row.found) == ("left out", "the rest would take 9 s")


def test_rows_of_parts_within_a_part_have_both_names(clock, budget):
    def outer(device, budget):
        return list(in_turn([Part(name="bf16", check=lambda *_: [Row(name="Dice")])], device, budget))

    assert [row.name for row in in_turn([Part(name="unet", check=outer)], CPU, budget)] == ["unet, bf16, Dice"]


def test_what_a_part_changes_for_the_process_or_prints_ends_with_it(budget, capsys):
    def careless(device, budget):
        print("noise")
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.allow_tf32 = not before
        return []

    before = torch.backends.cudnn.allow_tf32
    assert list(in_turn([Part(name="careless", check=careless)], CPU, budget)) == []
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.backends.cudnn.allow_tf32 == before
    assert capsys.readouterr() == ("", "")
