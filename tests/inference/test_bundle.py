"""A bundle on disk keeps the facts it was saved with, and older ones are read."""

import os
import shutil
import signal
import stat
from dataclasses import replace

import pytest
import torch

from segfocal import models
from segfocal.errors import UserError
from segfocal.files import read_json, sha256_of, write_json
from segfocal.inference import bundle as bundles
from segfocal.inference.bundle import Bundle
from segfocal.intensity_statistics import over_cases
from tests.forked import die_before, run_forked
from tests.inference.bundles import bundle_of
from tests.random_bundle import MODEL, make_bundle


def test_a_bundle_knows_its_neighbours_and_older_ones_have_none(tmp_path):
    config = {"_target_": "segfocal.models.UNet", "channels": 5, "classes": 1, "widths": [4, 4, 8]}
    made = bundle_of(models.build(config), neighbours=2)
    bundles.save(Bundle(**(vars(made) | {"model_config": config})), tmp_path)
    assert bundles.load(tmp_path).neighbours == 2
    assert bundles.load(tmp_path).inputs == 5
    facts = read_json(tmp_path / "bundle.json")
    del facts["neighbours"]
    write_json(tmp_path / "bundle.json", facts)
    assert bundles.load(tmp_path).neighbours == 0


def test_a_bundle_knows_its_trainings_values_and_older_ones_do_not(tmp_path):
    rows = [[-1000, -900, -100, 0, 40.5, 60, 500], [-1024, -990, -120, 0, 30, 70, 1e30]]
    values = over_cases([[rows[0], None], [rows[1], None]])
    folder = make_bundle(tmp_path, config=MODEL | {"channels": 2}, channels=2, training_values=values)
    assert bundles.load(folder).training_values == values
    facts = read_json(folder / "bundle.json")
    assert facts["training_values"][0]["percentiles"]["most"] == [-1000, -900, -100, 0, 40.5, 70, 1e30]
    del facts["training_values"]
    write_json(folder / "bundle.json", facts)
    assert bundles.load(folder).training_values is None
    assert "training_values" not in read_json(make_bundle(tmp_path / "none") / "bundle.json")


def test_others_may_read_a_bundle_as_any_other_file(tmp_path):
    config = {"_target_": "segfocal.models.UNet", "channels": 1, "classes": 1, "widths": [4, 4, 8]}
    before = os.umask(0o022)
    try:
        bundles.save(bundle_of(models.build(config)), tmp_path)
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"bundle.json": 0o644, "model.safetensors": 0o644}


@pytest.mark.parametrize("kept", ["bundle.json", "model.safetensors"])
def test_new_weights_with_old_facts_are_no_bundle(kept, tmp_path):
    for seed, name in enumerate(("old", "new")):
        make_bundle(tmp_path / name, seed=seed)
    shutil.copy(tmp_path / "old" / kept, tmp_path / "new" / kept)
    with pytest.raises(UserError, match="expected the weights that"):
        bundles.load(tmp_path / "new")


def test_bundles_of_before_do_not_name_their_weights(tmp_path):
    facts = read_json(make_bundle(tmp_path) / "bundle.json")
    del facts["weights_sha256"]
    write_json(tmp_path / "bundle.json", facts)
    assert bundles.load(tmp_path).structures[0].name == "liver"


@pytest.mark.parametrize("moment", range(4))
def test_a_kill_while_a_bundle_is_replaced_leaves_the_old_or_the_new_or_one_that_is_refused(moment, tmp_path):
    """In the order of its renames and fsyncs, each the last thing that happens."""
    make_bundle(tmp_path / "bundle", seed=0)
    old = models_sum(tmp_path / "bundle")
    assert run_forked(dying, tmp_path / "bundle", moment) == -signal.SIGKILL
    if moment < 3:
        assert models_sum(tmp_path / "bundle") == old
    else:
        with pytest.raises(UserError, match="was cut short"):
            bundles.load(tmp_path / "bundle")
    make_bundle(tmp_path / "bundle", seed=1)
    assert models_sum(tmp_path / "bundle") != old


def dying(folder, moment):
    die_before(moment, "fsync", "replace")
    make_bundle(folder, seed=1)


def models_sum(folder):
    return float(sum(weights.detach().double().abs().sum() for weights in bundles.load(folder).model.parameters()))


def test_equal_models_have_equal_files(tmp_path):
    """Also of a network that registers layers twice, whose second names safetensors notes in any order."""
    first = make_bundle(tmp_path / "0") / "model.safetensors"
    for number in range(1, 5):
        bundles.save(bundles.load(tmp_path / str(number - 1)), tmp_path / str(number))
        assert (tmp_path / str(number) / "model.safetensors").read_bytes() == first.read_bytes()


def test_weights_that_lie_in_another_order_in_memory_are_the_same_file(tmp_path):
    one = bundles.load(make_bundle(tmp_path / "one"))
    bundles.save(replace(one, model=one.model.to(memory_format=torch.channels_last)), tmp_path / "other")
    assert sha256_of(tmp_path / "other" / "model.safetensors") == sha256_of(tmp_path / "one" / "model.safetensors")
