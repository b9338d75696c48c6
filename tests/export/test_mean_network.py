"""An exported ensemble is one network with the mean of its members' logits."""

import pytest
import torch

from segfocal.errors import UserError
from segfocal.export.export import export
from segfocal.export.onnx_network import OnnxNetwork
from segfocal.inference import bundle as bundles
from segfocal.inference import ensemble
from tests.export.bundles import PROMPT_UNET, UNET, make_bundle, options_of


def saved_ensemble(folder, config, **options):
    """Save an ensemble of two bundles of different weights; return them."""
    members = [bundles.load(make_bundle(folder.with_name(name), config, **options)) for name in ("one", "other")]
    with torch.no_grad():
        for parameter in members[1].model.parameters():
            parameter.mul_(1.5)
    ensemble.save(members, folder, facts={})
    return members


def test_the_network_of_an_ensemble_gives_the_mean_logits(place, tmp_path):
    one, other = saved_ensemble(tmp_path / "both", UNET)
    report = export(options_of(place, tmp_path / "out", bundle=tmp_path / "both"))
    assert report["logit_difference"] < 1e-3
    image = torch.rand(3, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = (one.model(image) + other.model(image)) / 2
        assert (one.model(image) - other.model(image)).abs().max() > 0.01
        torch.testing.assert_close(OnnxNetwork(tmp_path / "out" / "model.onnx")(image), expected, rtol=0, atol=1e-4)


def test_of_models_that_need_prompts_one_is_asked_for(place, tmp_path):
    saved_ensemble(tmp_path / "both", PROMPT_UNET, needs_prompts=True)
    with pytest.raises(UserError, match=r"Give one of its members, as .*member_0"):
        export(options_of(place, tmp_path / "out", bundle=tmp_path / "both"))
