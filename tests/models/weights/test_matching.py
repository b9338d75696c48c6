"""Matching: which tensors go where, by names and shapes."""

import pytest

from segfocal import models
from segfocal.models.weights.matching import match
from tests.models.weights.small_sam import on_meta, shapes


@pytest.mark.parametrize(
    ("name", "blocks"), [("sam_vit_b", (2, 5, 8, 11)), ("sam_vit_l", (5, 11, 17, 23)), ("sam_vit_h", (7, 15, 23, 31))]
)
def test_sam_at_1024_fits_256_but_for_its_positions(name, blocks):
    build = models.ALLOWED[f"segfocal.models.{name}"]
    large, small = (shapes(on_meta(build, image_size=size)) for size in (1024, 256))
    found = match(small, large)
    relative = {f"image_encoder.blocks.{i}.attn.rel_pos_{axis}" for i in blocks for axis in "hw"}
    assert {change.name for change in found.resized} == relative | {"image_encoder.pos_embed"}
    assert not found.missing + found.unexpected + found.mismatched + found.added


@pytest.mark.parametrize("adapter", ["sam_med2d", "bottleneck", "lora"])
def test_adapters_that_a_stock_file_lacks_are_new_and_nothing_else(adapter):
    plain, adapted = (shapes(on_meta(models.sam_vit_b, adapter=kind)) for kind in ("none", adapter))
    found = match(adapted, plain)
    assert set(found.added) == set(adapted) - set(plain)
    assert not found.missing + found.unexpected + found.mismatched + found.resized


CLASSIFIER = {
    "image_encoder.norm_head.weight": (320,),
    "image_encoder.norm_head.bias": (320,),
    "image_encoder.head.weight": (1000, 320),
    "image_encoder.head.bias": (1000,),
}
INDICES = {"image_encoder.layers.1.blocks.0.attn.attention_bias_idxs": (49, 49)}


@pytest.mark.parametrize("name", ["mobile_sam", "lite_medsam"])
@pytest.mark.parametrize("more", [CLASSIFIER, INDICES, CLASSIFIER | INDICES])
def test_what_tiny_vits_files_hold_besides_is_left_out(name, more):
    model = shapes(on_meta(models.ALLOWED[f"segfocal.models.{name}"]))
    found = match(model, model | more | {"image_encoder.extra.weight": (3,)})
    assert set(found.unused) == set(more)
    assert found.unexpected == ("image_encoder.extra.weight",)
    assert found.taken == tuple(model)


def test_a_classifier_in_the_file_of_another_encoder_is_unknown():
    model = shapes(on_meta(models.sam_vit_b))
    found = match(model, model | CLASSIFIER)
    assert set(found.unexpected) == set(CLASSIFIER)
    assert not found.unused
