"""SAM's two attention layers with torch's fused kernel instead of an explicit softmax; parameters keep their names."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.functional import scaled_dot_product_attention

from segfocal.models.sam.upstream import DecoderAttention, EncoderAttention

_ALIGNMENT = 8  # fused kernels of GPUs want head widths in eights

Size = tuple[int, int]


class FusedEncoderAttention(EncoderAttention):
    """Self-attention over [b,h,w,c] tokens, all with all or within windows.

    The decomposed relative-position bias of Li et al., "MViTv2", CVPR 2022, eq. 4, is a sum of two products of the
    query: one with the distance in rows, one with that in columns. Both become further columns of the queries, which
    meet ones at the row and at the column of each key. So no kernel needs a bias of [b,heads,h·w,h·w], which at 1024
    pixels takes 0.8 GB an image and block.
    """

    def forward(self, x: Tensor, window: int = 0) -> Tensor:
        """Return tokens of the input's shape; window: side of the windows in tokens, 0 for none."""
        b, h, w, _ = x.shape
        if window or self.use_rel_pos:
            return self.proj(self._within(self.qkv(x), (window or h, window or w)))
        q, k, v = self.qkv(x).reshape(b, h * w, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        out = scaled_dot_product_attention(q, k, v)
        return self.proj(out.transpose(1, 2).reshape(b, h, w, -1))

    def _within(self, qkv: Tensor, window: Size) -> Tensor:
        """Return the attention [b,h,w,c] of queries, keys and values [b,h,w,3c] within windows.

        Windows that reach beyond the grid hold padding as keys, as in SAM, but none as queries: those answers would be
        thrown away. At 256 pixels that saves two thirds of the work.
        """
        _, h, w, c = qkv.shape
        heads, scale = self.num_heads, self.scale
        q = qkv[..., : c // 3].unflatten(-1, (heads, -1))
        keys_values = self._padded(qkv[..., c // 3 :], window)
        offsets = self._offsets(q, window) if self.use_rel_pos else []
        q = torch.cat([q * scale, *offsets], dim=-1)
        rows = []
        for top, bottom, tall in _spans(h, window[0]):
            row = []
            for left, right, wide in _spans(w, window[1]):
                inside = keys_values[:, top : top + _whole(bottom - top, window[0])]
                inside = inside[:, :, left : left + _whole(right - left, window[1])]
                k, v = (_tiles(t.unflatten(-1, (heads, -1)), window) for t in inside.chunk(2, dim=-1))
                tiles = self._attend(_tiles(q[:, top:bottom, left:right], (tall, wide)), k, v, window)
                row.append(_untiled(tiles, (bottom - top, right - left), (tall, wide)))
            rows.append(torch.cat(row, dim=2) if len(row) > 1 else row[0])
        return torch.cat(rows, dim=1) if len(rows) > 1 else rows[0]

    def _padded(self, keys_values: Tensor, window: Size) -> Tensor:
        """Fill whole windows: a token of zeros projects to the bias, without projecting it."""
        _, h, w, c = keys_values.shape
        bias = self.qkv.bias[-c:].to(keys_values.dtype)
        for axis, missing in ((1, -h % window[0]), (2, -w % window[1])):
            if missing:
                shape = [*keys_values.shape]
                shape[axis] = missing
                keys_values = torch.cat([keys_values, bias.expand(shape)], dim=axis)
        return keys_values

    def _offsets(self, q: Tensor, window: Size) -> list[Tensor]:
        """Return the bias of queries [b,h,w,heads,d] for each row and for each column of their window."""
        down = _distances(q.shape[1], window[0], self.rel_pos_h)
        across = _distances(q.shape[2], window[1], self.rel_pos_w)
        return [torch.einsum("bhwnc,hkc->bhwnk", q, down), torch.einsum("bhwnc,wkc->bhwnk", q, across)]

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, window: Size) -> Tensor:
        """Return the attention of scaled queries, their offsets beside them, to the tokens of whole windows."""
        width, tall, wide = v.shape[-1], *window
        if self.use_rel_pos:
            rows = torch.eye(tall, dtype=k.dtype, device=k.device).repeat_interleave(wide, dim=0)
            columns = torch.eye(wide, dtype=k.dtype, device=k.device).repeat(tall, 1)
            k = torch.cat([k, torch.cat([rows, columns], dim=1).expand(*k.shape[:2], -1, -1)], dim=-1)
        filled = _whole(q.shape[-1], _ALIGNMENT)
        q, k, v = (F.pad(t, (0, filled - t.shape[-1])) for t in (q, k, v))
        return scaled_dot_product_attention(q, k, v, scale=1.0)[..., :width]


def _distances(length: int, window: int, table: Tensor) -> Tensor:
    """Return the embedded distance [length,window,d] of each token of a line from each place in its window."""
    place = torch.arange(window, device=table.device)
    within = torch.arange(length, device=table.device) % window
    return table[within[:, None] - place + window - 1]


def _whole(length: int, unit: int) -> int:
    return -(-length // unit) * unit


def _spans(length: int, window: int) -> Iterator[tuple[int, int, int]]:
    """Yield start, end and tokens a window of the part of a line in whole windows, then of the rest."""
    end = length // window * window
    if end:
        yield 0, end, window
    if end < length:
        yield end, length, length - end


def _tiles(x: Tensor, tile: Size) -> Tensor:
    """Return tokens [b,h,w,heads,d] as tiles [b·tiles,heads,tokens,d]."""
    b, h, w, heads, d = x.shape
    cut = x.reshape(b, h // tile[0], tile[0], w // tile[1], tile[1], heads, d)
    return cut.permute(0, 1, 3, 5, 2, 4, 6).reshape(-1, heads, tile[0] * tile[1], d)


def _untiled(tiles: Tensor, size: Size, tile: Size) -> Tensor:
    """Return tiles [b·tiles,heads,tokens,d] as tokens [b,h,w,heads·d]."""
    (h, w), (_, heads, _, d) = size, tiles.shape
    cut = tiles.reshape(-1, h // tile[0], w // tile[1], heads, *tile, d)
    return cut.permute(0, 1, 4, 2, 5, 3, 6).reshape(-1, h, w, heads * d)


class FusedDecoderAttention(DecoderAttention):
    """Attention between [n,t,c] token lists, as in SAM's two-way transformer.

    Either side may be given once for the m prompts of an image: it is projected once, and never copied before.
    """

    def forward(self, q: Tensor, k: Tensor, v: Tensor, visible: Tensor | None = None) -> Tensor:
        """Return one token for each query; visible [n,t] (bool) marks the keys that are no padding, None all."""
        q, k, v = self.q_proj(q), self.k_proj(k), self.v_proj(v)
        count, length, width = q.shape
        if len(q) > len(k):
            q = q.reshape(len(k), -1, width)  # all prompts' queries of an image look at the same keys
        elif len(q) < len(k):
            q = q.repeat_interleave(len(k) // len(q), dim=0)
            count = len(k)
        q, k, v = (self._separate_heads(tokens, self.num_heads) for tokens in (q, k, v))
        mask = None if visible is None else visible[:, None, None, :]
        out = self._recombine_heads(scaled_dot_product_attention(q, k, v, attn_mask=mask))
        return self.out_proj(out.reshape(count, length, width))


def fuse_attention(module: nn.Module) -> None:
    """Let every stock attention layer inside `module` run the fused forward above, in place; weights stay."""
    for layer in module.modules():
        if type(layer) is EncoderAttention:
            layer.__class__ = FusedEncoderAttention
        elif type(layer) is DecoderAttention:
            layer.__class__ = FusedDecoderAttention
