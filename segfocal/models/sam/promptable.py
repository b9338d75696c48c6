"""A promptable segmentation model: image encoder, prompt encoder, mask decoder, composed from SAM's parts."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segfocal.models.prior import Prior, check_prior, set_last_layer
from segfocal.models.sam.parts import BatchMaskDecoder, BatchPromptEncoder, Embedding
from segfocal.prompts import Prompt


class Answer(NamedTuple):
    """What the decoder says to one prompt an image: mask logits [b,1,h,w], the same at low resolution, its own IoU."""

    logits: Tensor
    low_res_logits: Tensor
    predicted_iou: Tensor


class PromptableModel(nn.Module):
    """Encodes images once and answers any number of prompts about them.

    Called like an ordinary network, `model(image[b,c,h,w]) -> logits[b,1,h,w]`, it answers no prompt at all, so a
    sliding window can run it. Images are in [0,1] and of the model's own size.

    prior: None for SAM's own decoder; otherwise its masks get a bias, which `start_from` sets when training begins.
    """

    classes = 1

    def __init__(
        self,
        *,
        image_encoder: nn.Module,
        prompt_encoder: BatchPromptEncoder,
        mask_decoder: BatchMaskDecoder,
        image_size: int,
        pixel_mean: float,
        pixel_std: float,
        prior: Prior = None,
    ) -> None:
        super().__init__()
        check_prior(prior)
        self.image_encoder = image_encoder
        self.prompt_encoder = prompt_encoder
        self.mask_decoder = mask_decoder
        self.image_size, self.pixel_mean, self.pixel_std = image_size, pixel_mean, pixel_std
        self.prior: Prior = prior
        self.output_bias = None if prior is None else nn.Parameter(torch.zeros(1))

    def start_from(self, logits: Tensor) -> None:
        """Make the first answers equal the logits [1] of a prior; ValueError for a model built without one."""
        if self.output_bias is None:
            raise ValueError("expected a model built with a prior; got model.prior=null")
        for network in self.mask_decoder.output_hypernetworks_mlps:
            set_last_layer(network.layers[-1])
        with torch.no_grad():
            self.output_bias.copy_(logits)

    def encode(self, image: Tensor) -> Embedding:
        """Return embeddings of images [b,c,h,w] in [0,1]; ValueError unless h = w = image_size."""
        if tuple(image.shape[-2:]) != (self.image_size, self.image_size):
            raise ValueError(
                f"expected images of {self.image_size}×{self.image_size}; got {tuple(image.shape[-2:])}: set "
                "data.window to the model's image_size"
            )
        return self.image_encoder((image - self.pixel_mean) / self.pixel_std)

    def decode(self, embedding: Embedding, prompt: Prompt) -> Answer:
        """Answer prompt i about image i."""
        sparse, dense = self.prompt_encoder(prompt)
        masks, ious = self.mask_decoder(embedding, self.prompt_encoder.get_dense_pe(), sparse, dense)
        low_res, predicted_iou = masks[:, :1], ious[:, :1]
        if self.output_bias is not None:
            low_res = low_res + self.output_bias
        size = (self.image_size, self.image_size)
        logits = F.interpolate(low_res.float(), size=size, mode="bilinear", align_corners=False)
        return Answer(logits=logits, low_res_logits=low_res, predicted_iou=predicted_iou)

    def forward(self, image: Tensor) -> Tensor:
        """Return the logits [b,1,h,w] of images without any prompt."""
        embedding = self.encode(image)
        return self.decode(embedding, Prompt.none(len(image), device=image.device)).logits
