"""An ensemble on disk is the old one or the new one, whole, whenever its writing is cut."""

import os
import subprocess
import sys

import pytest

from segfocal.errors import UserError
from segfocal.files import read_json
from segfocal.inference import bundle as bundles
from segfocal.inference import ensemble
from segfocal.intensity_statistics import over_cases
from tests.random_bundle import make_bundle

MOMENTS = 36  # more than there are links, removals of folders, flushes and renames in one save
NUMBERS = [str(number) for number in range(MOMENTS)]
DYING = """
import os, signal, sys
from pathlib import Path
from segfocal.inference import bundle, ensemble
members = [bundle.load(Path(place)) for place in sys.argv[2:]]
left = 0
def counted(real):
    def call(*arguments, **options):
        global left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
        return real(*arguments, **options)
    return call
for name in ("fsync", "replace", "link", "rmdir"):
    setattr(os, name, counted(getattr(os, name)))
for moment in range(36):
    child = os.fork()
    if not child:
        left = moment
        ensemble.save(members, Path(sys.argv[1]) / str(moment), facts={"of": "new"})
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def sums(folder):
    """Return a number that tells the weights of each member."""
    return [
        float(sum(weights.detach().double().abs().sum() for weights in bundles.load(member).model.parameters()))
        for member in ensemble.members_of(folder)
    ]


def members(folder, *seeds):
    return [bundles.load(make_bundle(folder / f"seed_{seed}", seed=seed)) for seed in seeds]


def test_the_values_of_members_are_joined_and_not_known_where_those_of_one_are_not(tmp_path):
    rows = [[-1000, -900, -100, 0, 40, 60, 500], [-1024, -990, -120, 0, 30, 70, 400]]
    places = [make_bundle(tmp_path / str(k), training_values=over_cases([[row]])) for k, row in enumerate(rows)]
    old, *known = [bundles.load(place) for place in (make_bundle(tmp_path / "old"), *places)]
    ensemble.save(known, tmp_path / "ensemble", facts={})
    kept = [bundles.load(place) for place in ensemble.members_of(tmp_path / "ensemble")]
    (channel,) = ensemble.training_values(kept)
    assert channel.percentiles.least == (-1024, -990, -120, 0, 30, 60, 400)
    assert channel.percentiles.most == (-1000, -900, -100, 0, 40, 70, 500)
    assert ensemble.training_values([*kept, old]) is None


@pytest.mark.slow
def test_a_kill_at_any_moment_leaves_the_old_ensemble_or_the_new_and_the_next_save_mends_it(tmp_path):
    old, new = members(tmp_path, 0, 1), members(tmp_path, 2, 3)
    for number in range(MOMENTS):
        ensemble.save(old, tmp_path / str(number), facts={"of": "old"})
    was = sums(tmp_path / "0")
    ensemble.save(new, tmp_path / "whole", facts={"of": "new"})
    becomes = sums(tmp_path / "whole")
    places = [str(tmp_path / f"seed_{seed}") for seed in (2, 3)]
    done = subprocess.run([sys.executable, "-c", DYING, str(tmp_path), *places], check=True, capture_output=True)
    codes = [int(word) for word in done.stdout.split()]
    assert {-9, 0} == set(codes)  # killed at each moment there is, and once not
    found = [(sums(folder), read_json(folder / "ensemble.json")["of"]) for folder in map(tmp_path.joinpath, NUMBERS)]
    assert {"old": was, "new": becomes} == {of: weights for weights, of in found}
    assert all(weights == (was if of == "old" else becomes) for weights, of in found)
    assert found[0][1] == "old"
    for moment in NUMBERS[::6]:
        ensemble.save(new, tmp_path / moment, facts={})
        assert sums(tmp_path / moment) == becomes
        assert not list((tmp_path / moment).glob(".*"))


def test_an_ensemble_keeps_its_folders_names_and_a_damaged_list_is_replaced(tmp_path):
    first, second = members(tmp_path, 0, 1)
    for _ in range(2):
        ensemble.save([first, second], tmp_path / "out", facts={})
        assert sorted(os.listdir(tmp_path / "out")) == ["README.md", "ensemble.json", "member_0", "member_1"]
    (tmp_path / "out" / "ensemble.json").write_text("{")
    with pytest.raises(UserError):
        ensemble.members_of(tmp_path / "out")
    ensemble.save([second], tmp_path / "out", facts={})
    assert sums(tmp_path / "out") == sums(tmp_path / "seed_1")
