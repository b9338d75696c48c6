"""A promptable segmentation model: image encoder, prompt encoder, mask decoder, composed from SAM's parts."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

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
    ) -> None:
        super().__init__()
        self.image_encoder = image_encoder
        self.prompt_encoder = prompt_encoder
        self.mask_decoder = mask_decoder
        self.image_size, self.pixel_mean, self.pixel_std = image_size, pixel_mean, pixel_std

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
        size = (self.image_size, self.image_size)
        logits = F.interpolate(low_res.float(), size=size, mode="bilinear", align_corners=False)
        return Answer(logits=logits, low_res_logits=low_res, predicted_iou=predicted_iou)

    def forward(self, image: Tensor) -> Tensor:
        """Return the logits [b,1,h,w] of images without any prompt."""
        embedding = self.encode(image)
        return self.decode(embedding, Prompt.none(len(image), device=image.device)).logits
