"""A bundle on disk keeps the facts it was saved with, and older ones are read."""

import os
import stat

from segfocal import models
from segfocal.files import read_json, write_json
from segfocal.inference import bundle as bundles
from segfocal.inference.bundle import Bundle
from tests.inference.bundles import bundle_of


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


def test_others_may_read_a_bundle_as_any_other_file(tmp_path):
    config = {"_target_": "segfocal.models.UNet", "channels": 1, "classes": 1, "widths": [4, 4, 8]}
    before = os.umask(0o022)
    try:
        bundles.save(bundle_of(models.build(config)), tmp_path)
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"bundle.json": 0o644, "model.safetensors": 0o644}
