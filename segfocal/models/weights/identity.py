"""Identifies the model that a set of tensors belongs to, by their names and shapes, not by a file's name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Shapes = Mapping[str, Sequence[int]]

_PATCH, _POSITIONS = "image_encoder.patch_embed.proj.weight", "image_encoder.pos_embed"
_VITS = {(768, 12): "ViT-B", (1024, 24): "ViT-L", (1280, 32): "ViT-H"}  # by token width and blocks
_TINY_VIT = "image_encoder.patch_embed.seq.0.c.weight"  # its first convolution
_NECK, _TINY_VIT_WIDTH = "image_encoder.neck.0.weight", 320
_SAM_TINY = "image_encoder.vit.pos_embed"
_SAM_TINY_PATCH = 8
_PROMPT_UNET = "prompt_encoder.conv.weight"
_ADAPTED = {
    ".Adapter.channel.": "SAM-Med2D {}",
    ".Adapter.down.": "SAM {} with bottleneck adapters",
    ".lora_a": "SAM {} with LoRA",
}
_OURS = "a U-Net of segfocal"
_FOREIGN = {  # a name that only they have, and who they are
    "image_encoder.trunk.": "SAM 2",
    "vision_encoder.": "SAM as Hugging Face transformers names it",
    "image_encoder.blocks.0.attn.qkv.linear_a_q.": "SAMed (LoRA)",
    "network.": _OURS,
}


@dataclass(frozen=True, kw_only=True)
class Identity:
    """A kind of model.

    Args:
        name: for people, adapters included: "SAM-Med2D ViT-B".
        architecture: equal for weights that fit each other, except for adapters and positions: "ViT-B".
        image_size: pixels a side at which the positions were learnt; None where the tensors do not tell.
        supported: whether segfocal has a model that takes them.
    """

    name: str
    architecture: str
    image_size: int | None = None
    supported: bool = True

    def __str__(self) -> str:
        size = f", {self.image_size}×{self.image_size} pixels" if self.image_size else ""
        return f"{self.name}{size}{'' if self.supported else ', not supported'}"


def identity_of(shapes: Shapes) -> Identity | None:
    """Return the kind of model that has tensors of these names and shapes; None for an unknown kind."""
    if _PATCH in shapes and _POSITIONS in shapes:
        return _vit(shapes)
    if len(shapes.get(_SAM_TINY, ())) == 4:
        size = _SAM_TINY_PATCH * shapes[_SAM_TINY][1]
        return Identity(name="sam_tiny", architecture="sam_tiny", image_size=size)
    if is_tiny_vit(shapes):
        return _tiny_vit(shapes)
    if len(shapes.get(_PROMPT_UNET, ())) == 4:
        return Identity(name="prompt_unet", architecture="prompt_unet")
    foreign = [who for start, who in _FOREIGN.items() if any(name.startswith(start) for name in shapes)]
    return _foreign(foreign[0]) if foreign else None


def is_tiny_vit(shapes: Shapes) -> bool:
    """Return whether tensors are those of a SAM with a TinyViT encoder, as LiteMedSAM and MobileSAM."""
    return len(shapes.get(_TINY_VIT, ())) == 4


def described(shapes: Shapes) -> str:
    """Return the kind of model in words, for a message; of an unknown kind a few of its tensor names."""
    family = identity_of(shapes)
    if family is not None:
        return str(family)
    names = ", ".join(list(shapes)[:3])
    return f"{len(shapes)} tensors of no model known here ({names}, …)"


def _vit(shapes: Shapes) -> Identity | None:
    """Tell SAM from the models whose tensors have its names: SAM keeps its positions by row and column."""
    axes = len(shapes[_PATCH]), len(shapes[_POSITIONS])
    if axes == (4, 4):
        return _sam(shapes)
    if axes[0] == 5:
        return _foreign("SAM-Med3D, 3-D")
    return _foreign("EfficientSAM") if axes == (4, 3) else None


def _tiny_vit(shapes: Shapes) -> Identity:
    """Tell LiteMedSAM from MobileSAM by the first filter; both have the smallest of the published TinyViTs."""
    neck = shapes.get(_NECK, ())
    if len(neck) == 4 and neck[1] != _TINY_VIT_WIDTH:
        return _foreign(f"SAM with a TinyViT of width {neck[1]}")
    name = "LiteMedSAM" if shapes[_TINY_VIT][-1] == 1 else "MobileSAM"
    return Identity(name=name, architecture=name)


def _foreign(name: str) -> Identity:
    return Identity(name=name, architecture=name, supported=name == _OURS)


def _sam(shapes: Shapes) -> Identity:
    width, _, _, patch = shapes[_PATCH]
    blocks = {match[1] for name in shapes if (match := re.match(r"image_encoder\.blocks\.(\d+)\.", name))}
    vit = _VITS.get((width, len(blocks)), f"ViT of width {width} and {len(blocks)} blocks")
    kinds = (name for part, name in _ADAPTED.items() if any(part in key for key in shapes))
    name = next(kinds, "SAM or MedSAM {}").format(vit)
    return Identity(name=name, architecture=vit, image_size=patch * shapes[_POSITIONS][1])
