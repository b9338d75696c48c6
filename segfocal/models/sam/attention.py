"""SAM's two attention layers with torch's fused kernel instead of an explicit softmax; parameters keep their names."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.functional import scaled_dot_product_attention

from segfocal.models.sam.upstream import DecoderAttention, EncoderAttention

_ALIGNMENT = 8  # fused kernels of GPUs want head widths in eights
_MOST_WEIGHTS = 1 << 20  # of a head that are kept for the way back

Size = tuple[int, int]


def attend(q: Tensor, k: Tensor, v: Tensor, visible: Tensor | None = None, *, scale: float | None = None) -> Tensor:
    """Return softmax(q·kᵀ·scale)·v, [n,heads,t,d], by the kernel that is quickest there.

    In bfloat16 torch's fused kernel goes back on a CPU three times as slowly as its two products and a softmax do.

    Args:
        q: queries [n,heads,t,d].
        k: keys [n,heads,s,d].
        v: values [n,heads,s,d].
        visible: which keys are seen, of bool, that broadcasts to [n,heads,t,s]; None for all.
        scale: of the products; None for d^−½.
    """
    trains = q.requires_grad and q.device.type == "cpu" and q.dtype == torch.bfloat16
    if not trains or q.shape[-2] * k.shape[-2] > _MOST_WEIGHTS:
        return scaled_dot_product_attention(q, k, v, attn_mask=visible, scale=scale)
    weights = (q * (q.shape[-1] ** -0.5 if scale is None else scale)) @ k.transpose(-1, -2)
    if visible is not None:
        weights = weights.masked_fill(~visible, -torch.inf)
    return weights.softmax(dim=-1) @ v


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
        out = attend(q, k, v)
        return self.proj(out.transpose(1, 2).reshape(b, h, w, -1))

    def _within(self, qkv: Tensor, window: Size) -> Tensor:
        """Return the attention [b,h,w,c] of queries, keys and values [b,h,w,3c] within windows.

        Windows that reach beyond the grid are taken apart from the others. There SAM attends to padding too, and from
        it, which is left out: those answers would be thrown away. At 256 pixels it is two thirds of the work.
        """
        down, across = (_lengths(*line) for line in zip(qkv.shape[1:3], window, strict=True))
        rows = [[self._attend(part, window) for part in row.split(across, 2)] for row in qkv.split(down, 1)]
        return torch.cat([torch.cat(row, 2) for row in rows], 1)

    def _attend(self, qkv: Tensor, window: Size) -> Tensor:
        """Return the attention of [b,h,w,3c], whole windows or equal parts of windows."""
        size = (qkv.shape[1], qkv.shape[2])
        tile = (min(size[0], window[0]), min(size[1], window[1]))
        q, k, v = _tiles(qkv, tile, self.num_heads)
        width = q.shape[-1]
        k, v = (self._filled(tokens, place, window) for place, tokens in ((1, k), (2, v)))
        queries, keys = [q * self.scale], [k]
        if self.use_rel_pos:
            queries += self._offsets(q, window)
            keys += [_places(window, k).expand(*k.shape[:4], -1)]
        q, k = torch.cat(queries, dim=-1), torch.cat(keys, dim=-1)
        aligned = q.shape[-1] + -q.shape[-1] % _ALIGNMENT
        q, k, v = (F.pad(tokens.flatten(2, 3), (0, aligned - tokens.shape[-1])) for tokens in (q, k, v))
        return _untiled(attend(q, k, v, scale=1.0)[..., :width], size, tile)

    def _filled(self, tokens: Tensor, place: int, window: Size) -> Tensor:
        """Fill keys (place 1) or values (2) [n,heads,h,w,d] up to a window: of a token of zeros they are the bias."""
        bias = self.qkv.bias.unflatten(0, (3, self.num_heads, 1, 1, -1))[place].to(tokens.dtype)
        for axis, length in zip((2, 3), window, strict=True):
            if tokens.shape[axis] < length:
                shape = [*tokens.shape]
                shape[axis] = length - shape[axis]
                tokens = torch.cat([tokens, bias.expand(shape)], dim=axis)
        return tokens

    def _offsets(self, q: Tensor, window: Size) -> list[Tensor]:
        """Return the bias of queries [n,heads,h,w,d] for each row and for each column of their window."""
        down = _distances(q.shape[2], window[0], self.rel_pos_h)
        across = _distances(q.shape[3], window[1], self.rel_pos_w)
        return [torch.einsum("nghwc,hkc->nghwk", q, down), torch.einsum("nghwc,wkc->nghwk", q, across)]


def _lengths(length: int, window: int) -> list[int]:
    """Return how much of a line lies in whole windows, and the rest."""
    return [part for part in (length // window * window, length % window) if part]


def _distances(length: int, window: int, table: Tensor) -> Tensor:
    """Return the embedded distance [length,window,d] of the first places in a window from all of its places."""
    place = torch.arange(window, device=table.device)
    return table[place[:length, None] - place + window - 1]


def _places(window: Size, like: Tensor) -> Tensor:
    """Return, for each token [h,w] of a window, a one at its row and a one at its column, [h,w,h+w]."""
    rows, columns = (torch.eye(side, dtype=like.dtype, device=like.device) for side in window)
    return torch.cat([rows[:, None].expand(*window, -1), columns[None].expand(*window, -1)], dim=-1)


def _tiles(qkv: Tensor, tile: Size, heads: int) -> tuple[Tensor, ...]:
    """Return queries, keys and values [b,h,w,3c] as tiles [b·tiles,heads,*tile,d] each."""
    b, h, w, _ = qkv.shape
    cut = qkv.reshape(b, h // tile[0], tile[0], w // tile[1], tile[1], 3, heads, -1)
    return cut.permute(5, 0, 1, 3, 6, 2, 4, 7).flatten(1, 3).unbind(0)


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
        """Return one token [n,t,c] for each query.

        Args:
            q: what the queries are projected from, [n,t,c] or [b,t,c].
            k: what the keys are projected from, [n,s,c] or [b,s,c].
            v: what the values are projected from, of k's shape.
            visible: which keys are no padding, [n,s] of bool; None for all.
        """
        q, k, v = self.q_proj(q), self.k_proj(k), self.v_proj(v)
        count, length, width = q.shape
        if len(q) > len(k):
            q = q.reshape(len(k), -1, width)  # all prompts' queries of an image look at the same keys
        elif len(q) < len(k):
            q = q.repeat_interleave(len(k) // len(q), dim=0)
            count = len(k)
        q, k, v = (self._separate_heads(tokens, self.num_heads) for tokens in (q, k, v))
        mask = None if visible is None else visible[:, None, None, :]
        out = self._recombine_heads(attend(q, k, v, mask))
        return self.out_proj(out.reshape(count, length, width))
