"""Small layers beside an image encoder's frozen ones, to teach it another kind of images with few parameters.

All but the published weights of SAM-Med2D start as if they were not there: the first answers are those of the encoder
that they were added to.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from segfocal.models.sam.encoder import SamEncoder
from segfocal.models.sam.lora import LoRALinear

ADAPTERS = ("none", "sam_med2d", "bottleneck", "lora")


class ChannelSpatialAdapter(nn.Module):
    """SAM-Med2D's adapter: channels weighed by their means, two strided convolutions, a norm; names are theirs.

    Source: Cheng et al., "SAM-Med2D", 2023, section 3.2. Differs: the norm's weight starts at 0 instead of 1, which
    leaves the encoder as it was, and grids with odd sides are taken too.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.channel = nn.Sequential(
            nn.Linear(width, width // 4, bias=False), nn.ReLU(), nn.Linear(width // 4, width, bias=False), nn.Sigmoid()
        )
        self.spatial = nn.Sequential(
            nn.Conv2d(width, width, 3, stride=2, padding=1, bias=False),
            nn.ReLU(),
            nn.ConvTranspose2d(width, width, 4, stride=2, padding=1, bias=False),
            nn.ReLU(),
        )
        nn.init.zeros_(self.norm.weight)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return what is to be added to tokens [b,h,w,c]."""
        _, h, w, _ = tokens.shape
        weighed = tokens * self.channel(tokens.mean((1, 2)))[:, None, None, :]
        layers: Any = self.spatial
        down, up = layers[0].weight, layers[2].weight
        seen = _upsampled(F.relu(_downsampled(weighed.permute(0, 3, 1, 2), down)), up)[:, :, :h, :w]
        return self.norm(tokens + F.relu(seen).permute(0, 2, 3, 1))


# Both convolutions as products of matrices, in which the weights are used as they lie: on so small maps a CPU spends
# most of a convolution on turning 9 and 38 MB of weights, and their gradients, into another layout.


def _downsampled(maps: Tensor, weight: Tensor) -> Tensor:
    """Return the 3×3 convolution of stride 2 and padding 1 of maps [b,c,h,w]."""
    patches = F.unfold(maps, 3, stride=2, padding=1).transpose(1, 2)
    h, w = (-(-side // 2) for side in maps.shape[2:])
    return (patches @ weight.flatten(1).T).transpose(1, 2).unflatten(2, (h, w))


def _upsampled(maps: Tensor, weight: Tensor) -> Tensor:
    """Return the transposed 4×4 convolution of stride 2 and padding 1 of maps [b,c,h,w]."""
    h, w = maps.shape[2:]
    patches = maps.flatten(2).transpose(1, 2) @ weight.flatten(1)
    return F.fold(patches.transpose(1, 2), (2 * h, 2 * w), 4, stride=2, padding=1)


class BottleneckAdapter(nn.Module):
    """Two linear layers around `rank` channels, parallel to the MLP (Chen et al., "AdaptFormer", NeurIPS 2022)."""

    def __init__(self, width: int, rank: int) -> None:
        super().__init__()
        self.down = nn.Linear(width, rank)
        self.up = nn.Linear(rank, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return what is to be added to tokens [b,h,w,c]."""
        return self.up(F.gelu(self.down(tokens)))


def add_adapters(encoder: SamEncoder, kind: str, *, rank: int, alpha: float) -> None:
    """Give every block of an image encoder an adapter, in place.

    Args:
        encoder: its blocks are changed.
        kind: "none", "sam_med2d" or "bottleneck" as `blocks.{i}.Adapter`, or "lora" in the attention's qkv and proj.
        rank: ≥ 1; channels of a bottleneck, rank of LoRA.
        alpha: LoRA's change counts alpha / rank times.

    Raises:
        ValueError: an unknown adapter, rank < 1.
    """
    if kind not in ADAPTERS:
        raise ValueError(f"expected model.adapter to be one of {', '.join(ADAPTERS)}; got {kind!r}")
    if rank < 1:
        raise ValueError(f"expected model.rank ≥ 1; got {rank}")
    for block in encoder.blocks:
        width = block.attn.qkv.in_features
        if kind == "sam_med2d":
            block.Adapter = ChannelSpatialAdapter(width)
        elif kind == "bottleneck":
            block.Adapter = BottleneckAdapter(width, rank)
        elif kind == "lora":
            block.attn.qkv = LoRALinear(block.attn.qkv, rank=rank, alpha=alpha)
            block.attn.proj = LoRALinear(block.attn.proj, rank=rank, alpha=alpha)
