"""TinyViT, the image encoder of MobileSAM and LiteMedSAM: convolutions in the first stage, then window attention.

Source: Wu et al., "TinyViT: Fast Pretraining Distillation for Small Vision Transformers", ECCV 2022, the 5 M variant.
As in MobileSAM the last merging keeps the resolution. In LiteMedSAM the patch embedding does so too. Parameters carry
the names of their files.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from segfocal.models.sam.image_embedding import Embedding
from segfocal.models.sam.layer_norm import FusedLayerNorm2d

WIDTHS = (64, 128, 160, 320)  # channels of the four stages
_DEPTHS = (2, 2, 6, 2)
_HEADS = (2, 4, 5, 10)
_WINDOWS = (7, 7, 14, 7)  # tokens a side of an attention window; the first stage has none
_STRIDES = (2, 2, 1)  # of the mergings between the stages
_EXPANSION = 4


@dataclass(frozen=True, kw_only=True)
class Patches:
    """The two convolutions that turn pixels into the first stage's features.

    Args:
        size: side of both filters in pixels, odd.
        stride: of both.
    """

    size: int
    stride: int

    @property
    def token(self) -> int:
        """Side in pixels of one token of the encoder's output."""
        return self.stride**2 * prod(_STRIDES)


PIXELS = Patches(size=1, stride=1)  # LiteMedSAM's
QUARTERS = Patches(size=3, stride=2)  # TinyViT's own, and MobileSAM's


class ConvNorm(nn.Module):
    """A convolution without bias, then batch norm.

    In evaluation mode the norm is folded into the convolution's weights, which saves a pass over the features and,
    when gradients are wanted, the memory to keep them a second time.

    Args:
        channels: coming in.
        width: channels going out.
        size: side of the filter in pixels, odd.
        stride: pixels between its places.
        groups: of channels that are filtered apart.
    """

    def __init__(self, channels: int, width: int, size: int = 1, *, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.c = nn.Conv2d(channels, width, size, stride=stride, padding=size // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        """Return features [b,width,h/stride,w/stride]."""
        mean, variance = self.bn.running_mean, self.bn.running_var
        if self.bn.training or mean is None or variance is None:
            return self.bn(self.c(x))
        gain = self.bn.weight * torch.rsqrt(variance + self.bn.eps)
        bias = self.bn.bias - gain * mean
        return F.conv2d(
            x,
            self.c.weight * gain[:, None, None, None],
            bias,
            stride=self.c.stride,
            padding=self.c.padding,
            groups=self.c.groups,
        )


class InvertedBottleneck(nn.Module):
    """Widen, filter each channel, narrow again, around a skip connection (MobileNetV2's block)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = _EXPANSION * width
        self.conv1 = ConvNorm(width, hidden)
        self.conv2 = ConvNorm(hidden, hidden, 3, groups=hidden)
        self.conv3 = ConvNorm(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return features of the input's shape."""
        return F.gelu(x + self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x))))))


class Merging(nn.Module):
    """From one stage to the next: more channels, and with stride 2 a quarter of the tokens."""

    def __init__(self, channels: int, width: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(channels, width)
        self.conv2 = ConvNorm(width, width, 3, stride=stride, groups=width)
        self.conv3 = ConvNorm(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return features [b,width,h/stride,w/stride]."""
        return self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x)))))


class WindowAttention(nn.Module):
    """Self-attention inside windows, with a learnt bias for each distance (|Δy|, |Δx|) and head."""

    distance: Tensor

    def __init__(self, width: int, *, heads: int, window: int) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.attention_biases = nn.Parameter(torch.zeros(heads, window**2))
        place = torch.arange(window**2)
        y, x = place // window, place % window
        distance = (y[:, None] - y).abs() * window + (x[:, None] - x).abs()
        self.register_buffer("distance", distance, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return tokens [b,n,width] of windows of n = window² tokens."""
        b, n, _ = x.shape
        # each head's query, key and value lie side by side, unlike SAM's
        q, k, v = self.qkv(self.norm(x)).reshape(b, n, self.heads, 3, -1).permute(3, 0, 2, 1, 4).unbind(0)
        bias = self.attention_biases[None, :, self.distance].to(
            q.dtype
        )  # with its batch axis the fused kernel takes it
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return self.proj(out.transpose(1, 2).reshape(b, n, -1))


class Mlp(nn.Module):
    """The two-layer perceptron of a transformer block, with its norm in front."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, _EXPANSION * width)
        self.fc2 = nn.Linear(_EXPANSION * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return tokens of the input's shape."""
        return self.fc2(F.gelu(self.fc1(self.norm(x))))


class Block(nn.Module):
    """Window attention, a 3×3 filter of each channel that lets windows meet, and a perceptron."""

    def __init__(self, width: int, *, heads: int, window: int) -> None:
        super().__init__()
        self.attn = WindowAttention(width, heads=heads, window=window)
        self.local_conv = ConvNorm(width, width, 3, groups=width)
        self.mlp = Mlp(width)

    def forward(self, x: Tensor) -> Tensor:
        """Return features [b,c,h,w] of the input's shape."""
        x = self.local_conv(x + self.attend_in_windows(x)).permute(0, 2, 3, 1)
        return (x + self.mlp(x)).permute(0, 3, 1, 2)

    def attend_in_windows(self, x: Tensor) -> Tensor:
        """Attend inside windows that cover [b,c,h,w]; zeros right and below fill the last ones."""
        b, c, h, w = x.shape
        side = self.attn.window
        x = F.pad(x, (0, -w % side, 0, -h % side))
        rows, columns = x.shape[2] // side, x.shape[3] // side
        windows = x.reshape(b, c, rows, side, columns, side).permute(0, 2, 4, 3, 5, 1)
        out = self.attn(windows.reshape(-1, side * side, c)).reshape(b, rows, columns, side, side, c)
        return out.permute(0, 5, 1, 3, 2, 4).reshape(b, c, rows * side, columns * side)[:, :, :h, :w]


class Stage(nn.Module):
    """Blocks at one resolution, then the merging to the next, if any."""

    def __init__(self, index: int, *, checkpointing: bool) -> None:
        super().__init__()
        self.checkpointing, width = checkpointing, WIDTHS[index]
        if index == 0:
            blocks: list[nn.Module] = [InvertedBottleneck(width) for _ in range(_DEPTHS[index])]
        else:
            heads, window = _HEADS[index], _WINDOWS[index]
            blocks = [Block(width, heads=heads, window=window) for _ in range(_DEPTHS[index])]
        self.blocks = nn.ModuleList(blocks)
        last = index + 1 == len(WIDTHS)
        self.downsample = None if last else Merging(width, WIDTHS[index + 1], stride=_STRIDES[index])

    def forward(self, x: Tensor) -> Tensor:
        """Return features at the next stage's resolution."""
        again = self.checkpointing and torch.is_grad_enabled()
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=False, preserve_rng_state=False) if again else block(x)
        return x if self.downsample is None else self.downsample(x)


class PatchEmbedding(nn.Module):
    """Two convolutions: 3 colours to the first stage's channels."""

    def __init__(self, width: int, patches: Patches) -> None:
        super().__init__()
        self.seq = nn.Sequential(
            ConvNorm(3, width // 2, patches.size, stride=patches.stride),
            nn.GELU(),
            ConvNorm(width // 2, width, patches.size, stride=patches.stride),
        )

    def forward(self, image: Tensor) -> Tensor:
        """Return features [b,width,h/stride²,w/stride²] of images [b,3,h,w]."""
        return self.seq(image)


class TinyViT(nn.Module):
    """Encode images [b,3,h,w] as tokens [b,out,h/token,w/token].

    Args:
        patches: the first convolutions, which decide how many pixels a token has.
        out: channels of a token.
        frozen_statistics: batch norm keeps its means and variances in training too; its scale and shift are trained
            either way.
        checkpointing: each block is run again during the backward pass, which costs time and saves memory.
    """

    def __init__(self, patches: Patches, *, out: int, frozen_statistics: bool, checkpointing: bool) -> None:
        super().__init__()
        self.frozen_statistics = frozen_statistics
        self.patch_embed = PatchEmbedding(WIDTHS[0], patches)
        self.layers = nn.ModuleList(Stage(index, checkpointing=checkpointing) for index in range(len(WIDTHS)))
        self.neck = nn.Sequential(
            nn.Conv2d(WIDTHS[-1], out, 1, bias=False),
            FusedLayerNorm2d(out),
            nn.Conv2d(out, out, 3, padding=1, bias=False),
            FusedLayerNorm2d(out),
        )

    def train(self, mode: bool = True) -> TinyViT:
        """Set the mode, of the batch norms only where their statistics are not frozen."""
        super().train(mode)
        if self.frozen_statistics:
            for layer in self.modules():
                if isinstance(layer, nn.BatchNorm2d):
                    layer.eval()
        return self

    def forward(self, image: Tensor) -> Embedding:
        """Return the embedding, without details."""
        x = self.patch_embed(image)
        for layer in self.layers:
            x = layer(x)
        return Embedding(tokens=self.neck(x))
