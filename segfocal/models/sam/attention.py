"""SAM's two attention layers with torch's fused kernel instead of an explicit softmax; parameters keep their names."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from segfocal.models.sam.upstream import DecoderAttention, EncoderAttention, relative_positions


class FusedEncoderAttention(EncoderAttention):
    """Self-attention over [b,h,w,c] tokens, with the decomposed relative-position bias when the layer has one."""

    def forward(self, x: Tensor) -> Tensor:
        """Return tokens of the input's shape."""
        b, h, w, _ = x.shape
        q, k, v = self.qkv(x).reshape(b, h * w, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        bias = self._position_bias(q, h, w) if self.use_rel_pos else None
        out = scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return self.proj(out.transpose(1, 2).reshape(b, h, w, -1))

    def _position_bias(self, q: Tensor, h: int, w: int) -> Tensor:
        """Return the additive bias [b,heads,h·w,h·w] of Li et al., "MViTv2", CVPR 2022, eq. 4."""
        grid = q.unflatten(2, (h, w))
        rows = torch.einsum("bnhwc,hkc->bnhwk", grid, relative_positions(h, h, self.rel_pos_h))
        columns = torch.einsum("bnhwc,wkc->bnhwk", grid, relative_positions(w, w, self.rel_pos_w))
        return (rows[..., :, None] + columns[..., None, :]).flatten(4, 5).flatten(2, 3)


class FusedDecoderAttention(DecoderAttention):
    """Attention between [b,n,c] token lists, as in SAM's two-way transformer."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Return one token for each query."""
        q, k, v = (
            self._separate_heads(project(tokens), self.num_heads)
            for project, tokens in ((self.q_proj, q), (self.k_proj, k), (self.v_proj, v))
        )
        return self.out_proj(self._recombine_heads(scaled_dot_product_attention(q, k, v)))


def fuse_attention(module: nn.Module) -> None:
    """Let every stock attention layer inside `module` run the fused forward above, in place; weights stay."""
    for layer in module.modules():
        if type(layer) is EncoderAttention:
            layer.__class__ = FusedEncoderAttention
        elif type(layer) is DecoderAttention:
            layer.__class__ = FusedDecoderAttention
