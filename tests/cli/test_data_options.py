"""The data of a config at the door: a batch that no memory holds."""

import pytest

from segfocal.cli.data_options import check_batch_fits
from tests.system.commands import SMALL, segfocal


@pytest.mark.parametrize(
    "options",
    [
        ["data.window=[1000000000,1000000000]"],
        ["data.window=1000000000"],
        ["train.batch_size=1000000000"],
        ["data.window=[100000000,32,32]", "model=unet", "task=semantic"],
    ],
)
def test_a_batch_larger_than_memory_is_one_line_before_anything_is_built(
    options, spheres, monkeypatch, capfd, tmp_path
):
    small = [option for option in SMALL if not option.startswith(("data.window", "model."))]
    place = [f"hydra.run.dir={tmp_path / 'run'}", "data=csv", f"data.root={spheres}"]
    assert segfocal(monkeypatch, "train", *place, *small, *options) == 1
    said = capfd.readouterr().err
    assert "expected a batch of images that fits into the" in said
    assert said.count("\n") == 1


def test_a_batch_of_any_usual_size_fits():
    check_batch_fits(64, 3, (256, 256))
