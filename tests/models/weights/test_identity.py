"""Identity: the kind of model, from the names and shapes of tensors."""

import pytest

from segfocal import models
from segfocal.models.weights import identity_of
from tests.models.weights.small_sam import on_meta, shapes


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
