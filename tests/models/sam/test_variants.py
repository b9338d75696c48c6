"""The table of published models: names, sizes and conventions of their weight files."""

import pytest
import torch
from torch import nn

from segfocal import models
from segfocal.models.freezing import freeze_parameters
from segfocal.models.sam import upstream
from segfocal.models.sam.families import FAMILIES
from tests import ROOT
from tests.models.sam.small_models import small


def on_meta(name, **options):
    with torch.device("meta"):
        return getattr(models, name)(**options)


def count_of(model):
    return sum(parameter.numel() for parameter in model.parameters())


CONF = ROOT / "conf" / "model"


@pytest.mark.parametrize(
    ("name", "options", "count"),
    [
        ("sam_vit_b", {"image_size": 1024}, 93_735_472),
        ("sam_vit_b", {"image_size": 256}, 90_737_200),
        ("sam_med2d", {}, 271_241_776),
        ("medsam", {}, 93_735_472),
    ],
)
def test_parameters_are_as_many_as_published(name, options, count):
    assert count_of(on_meta(name, **options)) == count


@pytest.mark.parametrize(
    ("name", "width", "depth", "heads", "everywhere"),
    [
        ("sam_vit_b", 768, 12, 12, (2, 5, 8, 11)),
        ("sam_vit_l", 1024, 24, 16, (5, 11, 17, 23)),
        ("sam_vit_h", 1280, 32, 16, (7, 15, 23, 31)),
    ],
)
def test_names_and_shapes_are_those_of_segment_anything(name, width, depth, heads, everywhere):
    with torch.device("meta"):
        theirs = nn.Module()
        theirs.image_encoder = upstream.ImageEncoderViT(
            depth=depth,
            embed_dim=width,
            num_heads=heads,
            use_rel_pos=True,
            global_attn_indexes=everywhere,
            window_size=14,
        )
        theirs.prompt_encoder = upstream.PromptEncoder(256, (64, 64), (1024, 1024), 16)
        transformer = upstream.TwoWayTransformer(depth=2, embedding_dim=256, mlp_dim=2048, num_heads=8)
        theirs.mask_decoder = upstream.MaskDecoder(transformer_dim=256, transformer=transformer)
    ours = on_meta(name, image_size=1024).state_dict()
    assert {key: value.shape for key, value in ours.items()} == {
        key: value.shape for key, value in theirs.state_dict().items()
    }


@pytest.mark.parametrize("path", sorted(CONF.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_model_of_the_configs_is_on_the_list(path):
    targets = [line.removeprefix("_target_: ") for line in path.read_text().splitlines() if "_target_" in line]
    assert targets[0] in models.ALLOWED


def test_conventions_of_a_family_are_the_defaults_of_its_models():
    for name, family in {"sam_vit_b": "sam", "sam_vit_l": "sam", "sam_vit_h": "sam"}.items() | {
        ("sam_med2d", "sam_med2d"),
        ("medsam", "medsam"),
        ("mobile_sam", "sam"),
    }:
        model, facts = on_meta(name), FAMILIES[family]
        assert model.channel_order == facts.channel_order
        assert model.multimask == facts.multimask
        assert model.prompt_encoder.mask_probabilities == facts.mask_probabilities


def test_parameter_table_counts_what_is_trained():
    table = {row.group: row for row in models.parameter_table(on_meta("sam_med2d"))}
    assert list(table)[-1] == "total"
    assert table["total"].parameters == 271_241_776
    assert table["total"].parameters == sum(row.parameters for name, row in table.items() if name != "total")
    assert all(row.parameters == row.trained + row.frozen for row in table.values())
    adapters = table["image_encoder.blocks.*.Adapter"]
    assert adapters.trained == adapters.parameters == 180_504_576
    assert table["image_encoder.blocks"].trained == table["image_encoder.neck"].trained == 0
    assert table["prompt_encoder.mask_downscaling"].frozen == 0
    assert "image_encoder.blocks.*.attn.qkv.lora" in {
        row.group for row in models.parameter_table(small(adapter="lora"))
    }


def test_train_excepts_from_freeze():
    model = small(adapter="bottleneck")
    freeze_parameters(model, ["image_encoder.*", "prompt_encoder.*"], ["*.Adapter.*", "*.no_mask_embed.*"])
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert "prompt_encoder.no_mask_embed.weight" in trained
    assert {n for n in trained if n.startswith("image_encoder")} == {
        f"image_encoder.blocks.{i}.Adapter.{part}"
        for i in (0, 1)
        for part in ("down.weight", "down.bias", "up.weight", "up.bias")
    }
