"""Identity: the kind of model, from the names and shapes of tensors."""

import pytest
import torch

from segfocal import models
from segfocal.models import load_weights
from segfocal.models.weights import identity_of
from tests.models.weights.small_sam import on_meta, refusal, shapes, small

PATCH, POSITIONS = "image_encoder.patch_embed.proj.weight", "image_encoder.pos_embed"
FILTER, NECK = "image_encoder.patch_embed.seq.0.c.weight", "image_encoder.neck.0.weight"
OTHERS = {
    "SAM-Med3D, 3-D, not supported": {PATCH: (8, 1, 16, 16, 16), POSITIONS: (1, 2, 2, 2, 8)},
    "EfficientSAM, not supported": {PATCH: (8, 3, 16, 16), POSITIONS: (1, 197, 8)},
    "SAM 2, not supported": {"image_encoder.trunk.pos_embed": (1, 8, 7, 7)},
    "SAM with a TinyViT of width 448, not supported": {FILTER: (32, 3, 3, 3), NECK: (256, 448, 1, 1)},
}


@pytest.mark.parametrize("name", ["sam_vit_b", "sam_vit_l", "sam_vit_h"])
def test_a_sam_is_known_by_its_vit_and_image_size(name):
    large = identity_of(shapes(on_meta(models.ALLOWED[f"segfocal.models.{name}"], image_size=1024)))
    assert "ViT-" + name[-1].upper() in str(large)
    assert "1024×1024" in str(large)


@pytest.mark.parametrize("adapter", ["sam_med2d", "bottleneck", "lora"])
def test_adapters_change_the_name_and_not_the_architecture(adapter):
    plain, adapted = (identity_of(shapes(on_meta(models.sam_vit_b, adapter=kind))) for kind in ("none", adapter))
    assert adapted.architecture == plain.architecture == "ViT-B"
    assert adapted.name != plain.name


@pytest.mark.parametrize("name", OTHERS)
def test_a_model_that_segfocal_lacks_is_named_and_refused(name, tmp_path):
    assert str(identity_of(OTHERS[name])) == name
    torch.save(
        {"model_state_dict": {key: torch.zeros(shape) for key, shape in OTHERS[name].items()}}, tmp_path / "x.pth"
    )
    said = refusal(load_weights, small(64), tmp_path / "x.pth", allow=["*"])
    assert f"found {name}" in said
    assert "Choose another file" in said


@pytest.mark.parametrize("axes", [(), (1,), (1, 2), (1, 2, 3, 4, 5), (1, 2, 3, 4, 5, 6)])
def test_names_of_a_known_model_with_shapes_of_none_are_no_fault(axes):
    assert identity_of({PATCH: (8, 3, 16, 16), POSITIONS: axes}) is None or len(axes) == 3
    assert identity_of({PATCH: axes, POSITIONS: (1, 4, 4, 8)}) is None or len(axes) == 5
    for alone in ("image_encoder.vit.pos_embed", FILTER):
        assert identity_of({alone: axes}) is None
    assert identity_of({FILTER: (32, 3, 3, 3), NECK: axes}).supported is (len(axes) != 4)


def test_a_prompt_unet_is_known_of_any_size(tmp_path):
    theirs = shapes(on_meta(models.PromptUNet, widths=(8, 16)))
    assert str(identity_of(theirs)) == "prompt_unet"
    assert identity_of({"prompt_encoder.conv.weight": (8, 4)}) is None
    torch.save({name: torch.zeros(shape) for name, shape in theirs.items()}, tmp_path / "x.pth")
    assert "found prompt_unet" in refusal(load_weights, small(64), tmp_path / "x.pth")


def test_tiny_vits_are_told_apart_by_their_first_filter(tmp_path):
    lite, mobile = (shapes(on_meta(build, image_size=64)) for build in (models.lite_medsam, models.mobile_sam))
    assert (str(identity_of(lite)), str(identity_of(mobile))) == ("LiteMedSAM", "MobileSAM")
    torch.save({name: torch.zeros(shape) for name, shape in lite.items()}, tmp_path / "mobile_sam.pt")
    said = refusal(load_weights, models.mobile_sam(image_size=64), tmp_path / "mobile_sam.pt", allow=["*"])
    assert "expected weights of MobileSAM; found LiteMedSAM" in said
