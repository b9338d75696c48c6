"""Meta's segment-anything building blocks, imported without the package's own `__init__`.

That `__init__` imports torchvision (for a mask generator unused here), which has no CPU build that works beside the
CPU build of torch. The blocks themselves need torch alone.
"""

from __future__ import annotations

import importlib
import sys
from importlib.machinery import PathFinder
from types import ModuleType


def _import_modeling() -> ModuleType:
    """Import `segment_anything.modeling` under a stand-in for its parent package, then take the stand-in away.

    A later `import segment_anything` by somebody else still runs the real `__init__`.
    """
    if "segment_anything" in sys.modules:
        return importlib.import_module("segment_anything.modeling")
    spec = PathFinder.find_spec("segment_anything")
    if spec is None or spec.submodule_search_locations is None:
        raise ImportError("segment-anything is not installed: pip install segment-anything==1.0")
    parent = ModuleType("segment_anything")
    parent.__path__ = list(spec.submodule_search_locations)
    sys.modules["segment_anything"] = parent
    try:
        return importlib.import_module("segment_anything.modeling")
    finally:
        del sys.modules["segment_anything"]


_modeling = _import_modeling()
ImageEncoderViT = _modeling.ImageEncoderViT  # the whole encoder and transformer: for tests and benchmarks
MaskDecoder = _modeling.MaskDecoder
PromptEncoder = _modeling.PromptEncoder
TwoWayTransformer = _modeling.TwoWayTransformer
_encoder = sys.modules["segment_anything.modeling.image_encoder"]
_transformer = sys.modules["segment_anything.modeling.transformer"]
EncoderAttention = _encoder.Attention
EncoderBlock = _encoder.Block
PatchEmbed = _encoder.PatchEmbed
window_partition = _encoder.window_partition
window_unpartition = _encoder.window_unpartition
DecoderAttention = _transformer.Attention
TwoWayAttentionBlock = _transformer.TwoWayAttentionBlock
_common = sys.modules["segment_anything.modeling.common"]
LayerNorm2d = _common.LayerNorm2d
MLPBlock = _common.MLPBlock
