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
