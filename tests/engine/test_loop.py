"""The training loop: the same seed gives the same weights, and switches for speed the same losses."""

import csv

import pytest
import torch

from tests.system.commands import segfocal, small_training


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(spheres, tmp_path, monkeypatch):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        options = small_training(spheres, tmp_path / name, "train.steps=2", f"seed={seed}")
        assert segfocal(monkeypatch, "train", *options) == 0
    a, b, c = ((tmp_path / name / "bundle" / "model.safetensors").read_bytes() for name in "abc")
    assert a == b
    assert a != c


def losses(spheres, folder, monkeypatch, *options):
    """Train three steps in float32, and return the loss of each."""
    settings = ["train.steps=3", "train.validate_every=0", "train.precision=fp32", *options]
    assert segfocal(monkeypatch, "train", *small_training(spheres, folder, *settings)) == 0
    return [float(row["loss"]) for row in csv.DictReader((folder / "metrics.csv").open())]


@pytest.fixture(scope="module")
def plain(spheres, tmp_path_factory):
    with pytest.MonkeyPatch.context() as monkeypatch:
        return losses(spheres, tmp_path_factory.mktemp("plain") / "run", monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("option", ["train.channels_last=false", "train.deterministic=true", "train.tf32=false"])
def test_a_switch_for_speed_or_exactness_changes_no_result_on_a_cpu(option, plain, spheres, tmp_path, monkeypatch):
    switched = losses(spheres, tmp_path / "switched", monkeypatch, option)
    torch.use_deterministic_algorithms(False)
    assert switched == pytest.approx(plain, rel=1e-4)  # another memory order sums in another order


def test_a_unet_learns_alike_in_either_memory_order(spheres, tmp_path, monkeypatch):
    unet = ["model=unet", "task=semantic", "model.widths=[8,16,16]", "train.steps=3", "train.validate_every=0"]
    unet += ["train.precision=fp32"]
    rows = []
    for order in ("auto", "true", "false"):
        options = small_training(spheres, tmp_path / order, *unet, f"train.channels_last={order}")
        kept = [o for o in options if not o.startswith(("model.width=", "model.depth=", "model.decoder_width="))]
        assert segfocal(monkeypatch, "train", *kept) == 0
        rows.append([row["loss"] for row in csv.DictReader((tmp_path / order / "metrics.csv").open())])
    assert rows[0] == rows[2]  # auto: no U-Net is trained faster so
    assert [float(one) for one in rows[1]] == pytest.approx([float(one) for one in rows[0]], rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["sam_tiny", "unet"])
def test_a_compiled_network_trains_like_the_plain_one(model, spheres, tmp_path, monkeypatch):
    rows = []
    for name, extra in (("plain", []), ("compiled", ["train.compile=true"])):
        fixed = ["train.steps=3", "train.validate_every=0", "train.precision=fp32"]
        options = small_training(spheres, tmp_path / name, *fixed, *extra)
        if model == "unet":
            options = [o for o in options if not o.startswith("model.")]
            options += ["model=unet", "task=semantic", "model.widths=[8,16,16]"]
        assert segfocal(monkeypatch, "train", *options) == 0
        rows.append([float(row["loss"]) for row in csv.DictReader((tmp_path / name / "metrics.csv").open())])
    assert rows[1] == pytest.approx(rows[0], rel=1e-3)


FOCAL = ["loss=focal", "train.batch_size=4", "augment=none"]


@pytest.mark.parametrize("reduction", ["sum", "positives"])
def test_a_step_of_several_batches_is_that_of_one(reduction, spheres, tmp_path, monkeypatch):
    options = [*FOCAL, f"loss.terms.focal.reduction={reduction}"]
    one, two, four = (
        losses(spheres, tmp_path / str(count), monkeypatch, *options, f"train.accumulate={count}")
        for count in (1, 2, 4)
    )
    assert two == pytest.approx(one, rel=1e-4)  # float32, sums in another order
    assert four == pytest.approx(one, rel=1e-4)


@pytest.mark.parametrize(("batch", "said"), [("true", 1), ("false", 0)])
def test_a_term_over_a_whole_batch_is_told_once(batch, said, spheres, tmp_path, monkeypatch, recwarn):
    options = ["loss=focal+dice", f"loss.terms.dice.batch={batch}", "train.accumulate=2", "train.batch_size=4"]
    losses(spheres, tmp_path / "run", monkeypatch, *options)
    found = [str(one.message) for one in recwarn if "over a whole batch" in str(one.message)]
    assert len(found) == said
    assert all("dice, are those of each of the 2 batches" in one for one in found)
