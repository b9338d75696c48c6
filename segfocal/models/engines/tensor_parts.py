"""The parts of a model as converters take them: tensors in, a tuple of tensors out, with an example of what goes in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from segfocal.models.prompt_unet import PromptUNet
from segfocal.models.sam.image_embedding import Embedding
from segfocal.models.sam.mask_decoder import BatchMaskDecoder
from segfocal.models.sam.sam_model import SamModel
from segfocal.prompts import Prompt

Compared = Callable[[Sequence[Tensor]], Sequence[Tensor]]

_BALL = 0.4  # squared radius, where a window reaches from -1 to 1
_BATCH = 2  # of the example: any but 1, which tracers take for a size that never changes


def probabilities(outputs: Sequence[Tensor]) -> list[Tensor]:
    """Return outputs with the sigmoid of the first one, logits: what masks and probability maps are made of."""
    return [outputs[0].float().sigmoid(), *outputs[1:]]


@dataclass(frozen=True, kw_only=True, eq=False)
class TensorPart:
    """A part to convert.

    Args:
        network: tensors in, a tuple of tensors out.
        example: inputs.
        free: of each input, the axes whose size may differ.
        compared: what of its outputs an engine's must be near to.
        air: inputs for one image that shows nothing; none where the network has no norms over an image.
    """

    network: nn.Module
    example: tuple[Tensor, ...]
    free: tuple[tuple[int, ...], ...]
    compared: Compared = tuple
    air: tuple[Tensor, ...] = ()

    def rows(self, count: int) -> list[Tensor]:
        """Return inputs like the example's for another batch size."""
        return [
            torch.cat([tensor] * count)[:count] if 0 in own else tensor
            for tensor, own in zip(self.example, self.free, strict=True)
        ]


class TensorNetwork(nn.Module):
    """A network of one tensor to one, or to several."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return what the network does, as a tuple."""
        answers = self.network(*inputs)
        return answers if isinstance(answers, tuple) else (answers,)


class TensorEncoder(nn.Module):
    """An image encoder: standardised images to tokens and details."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return tokens and details."""
        embedding: Embedding = self.encoder(*inputs)
        return (embedding.tokens, *embedding.details)


class TensorDecoder(nn.Module):
    """A mask decoder: tokens, image_pe, sparse, dense, visible where the model hides tokens, details."""

    def __init__(self, model: SamModel, decoder: BatchMaskDecoder) -> None:
        super().__init__()
        self.decoder, self.masks = decoder, model.masks
        self.hides = model.prompt_encoder.hides_absent

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return mask logits at low resolution, and predicted IoU."""
        tokens, image_pe, sparse, dense, *rest = inputs
        visible = rest.pop(0) if self.hides else None
        embedding = Embedding(tokens=tokens, details=tuple(rest))
        return self.decoder(embedding, image_pe, sparse, dense, visible=visible, masks=self.masks)


def network_part(network: nn.Module, shape: Sequence[int]) -> TensorPart:
    """Return a whole network of images [b,*shape]."""
    return TensorPart(
        network=TensorNetwork(network),
        example=(_phantom(shape),),
        free=((0,),),
        compared=probabilities,
        air=(torch.zeros(1, *shape),),
    )


@torch.no_grad()
def unet_part(model: PromptUNet, channels: int) -> TensorPart:
    """Return the U-Net of a prompt_unet, without its first layer; channels: of its images."""
    shape = (channels, *model.image_shape)
    features, air = (model.encode(image).tokens for image in (_phantom(shape), torch.zeros(1, *shape)))
    return TensorPart(
        network=TensorNetwork(model.unet), example=(features,), free=((0,),), compared=probabilities, air=(air,)
    )


def encoder_part(model: SamModel, channels: int) -> TensorPart:
    """Return the image encoder of a SAM; channels: of its images."""
    shape = (channels, model.image_size, model.image_size)
    image, air = (model.standardised(one) for one in (_phantom(shape), torch.zeros(1, *shape)))
    return TensorPart(network=TensorEncoder(model.image_encoder), example=(image,), free=((0,),), air=(air,))


@torch.no_grad()
def decoder_part(model: SamModel, decoder: BatchMaskDecoder, embedding: Sequence[Tensor]) -> TensorPart:
    """Return a mask decoder of a SAM; embedding: tokens and details of two images."""
    tokens, *details = embedding
    prompt = Prompt.none(len(tokens), device=torch.device("cpu"))
    side = float(model.image_size)
    prompt = prompt.with_clicks(torch.full((len(tokens), 2), side / 2), torch.ones(len(tokens), dtype=torch.long))
    sparse, dense = model.prompt_encoder(prompt)
    visible = model.prompt_encoder.visible(prompt)
    pe = model.prompt_encoder.get_dense_pe()
    hidden = [] if visible is None else [visible]
    example = (tokens, pe, sparse, dense.contiguous(), *hidden, *details)
    free = ((0,), (), (0, 1), (0,), *[(0, 1) for _ in hidden], *[(0,) for _ in details])
    return TensorPart(network=TensorDecoder(model, decoder), example=example, free=free)


def _phantom(shape: Sequence[int]) -> Tensor:
    """Return images [b,c,*window] of noise in a ball amid air: equal numbers are where rounding adds up."""
    axes = torch.meshgrid(*[torch.linspace(-1, 1, side) for side in shape[1:]], indexing="ij")
    inside = torch.stack(axes).square().sum(0) < _BALL
    return torch.rand(_BATCH, *shape, generator=torch.Generator().manual_seed(0)) * inside
