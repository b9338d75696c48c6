"""The interface of promptable models: encode an image once, answer any number of prompts about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from segfocal.models.prior import Prior, check_prior
from segfocal.models.sam.image_embedding import Embedding
from segfocal.models.segmentation_model import SegmentationModel
from segfocal.prompts import Prompt, as_clicks_and_boxes

CHANNEL_ORDERS = ("rgb", "bgr")


class Answer(NamedTuple):
    """What the decoder says to n prompts: mask logits [n,k,h,w], the same at low resolution, their predicted IoU [n,k].

    k is 1, or with multimask the number of alternatives.
    """

    logits: Tensor
    low_res_logits: Tensor
    predicted_iou: Tensor

    def best(self) -> Answer:
        """Return the one mask a prompt whose IoU is predicted highest, k = 1."""
        if self.logits.shape[1] == 1:
            return self
        choice = self.predicted_iou.argmax(1, keepdim=True)
        place = choice[:, :, None, None]
        return Answer(
            logits=torch.take_along_dim(self.logits, place, dim=1),
            low_res_logits=torch.take_along_dim(self.low_res_logits, place, dim=1),
            predicted_iou=torch.take_along_dim(self.predicted_iou, choice, dim=1),
        )


@dataclass(frozen=True, kw_only=True)
class PromptableOptions:
    """How a promptable model takes images and answers.

    Args:
        image_size: pixels of a side of the square images.
        pixel_mean: standardises images in [0,1]; one number, or one a channel in the encoder's order.
        pixel_std: likewise, > 0.
        channel_order: "rgb" or "bgr" for encoders of colour images: a single channel is repeated to three, RGB images
            are put into that order. None leaves channels as they are.
        multimask: `answer` chooses among the decoder's alternatives by predicted IoU instead of its single mask.
        checkpointing: decoding is done again during the backward pass, which costs time and saves memory.
        prior: None for a decoder as it is; otherwise masks get a bias, which `start_from` sets when training begins.

    Raises:
        ValueError: an impossible prior or an unknown channel order.
    """

    image_size: int
    pixel_mean: float | Sequence[float]
    pixel_std: float | Sequence[float]
    channel_order: str | None = None
    multimask: bool = False
    checkpointing: bool = False
    prior: Prior = None

    def __post_init__(self) -> None:
        check_prior(self.prior)
        if self.channel_order not in (None, *CHANNEL_ORDERS):
            raise ValueError(f"expected model.channel_order to be rgb or bgr; got {self.channel_order!r}")


class PromptableModel(SegmentationModel):
    """Encodes images once and answers any number of prompts about them.

    Images have two axes, or with a mask_size of three they are volumes: then [b,c,d,h,w] stands for [b,c,h,w] here.
    Called like an ordinary network, `model(image[b,c,h,w]) -> logits[b,1,h,w]`, it answers no prompt at all, so a
    sliding window can run it. Images are in [0,1] and of the model's own size. What decodes is a subclass's `low_res`.

    Args:
        image_encoder: standardised images [b,c,h,w] of the model's size to an Embedding.
        mask_size: pixels (h, w) of mask prompts and of the masks that `low_res` gives; (d, h, w) for a model of
            volumes, which are of that size too.
        options: how it takes images and answers.
    """

    classes = 1
    image_size: int
    image_shape: tuple[int, ...]

    def __init__(self, *, image_encoder: nn.Module, mask_size: tuple[int, ...], options: PromptableOptions) -> None:
        super().__init__()
        self.image_encoder, self.mask_size = image_encoder, mask_size
        self.image_size, self.channel_order = options.image_size, options.channel_order
        self.image_shape = (self.image_size, self.image_size) if len(mask_size) == 2 else mask_size
        self.pixel_mean: float | Tensor
        self.pixel_std: float | Tensor
        for name, value in (("pixel_mean", options.pixel_mean), ("pixel_std", options.pixel_std)):
            if isinstance(value, int | float):
                setattr(self, name, value)
            else:
                self.register_buffer(name, torch.tensor(value).reshape(-1, *[1] * len(mask_size)), persistent=False)
        self.multimask, self.checkpointing = options.multimask, options.checkpointing
        self.prior = options.prior
        self.output_bias = None if options.prior is None else nn.Parameter(torch.zeros(1))

    @property
    def of_volumes(self) -> bool:
        """Whether images and prompts have three axes."""
        return len(self.image_shape) == 3

    @property
    def alternatives(self) -> int:
        """How many masks it can give one prompt to choose from; 0 where it gives one."""
        return 0

    @property
    def prompt_options(self) -> tuple[object, ...]:
        """How it takes prompts, where answers depend on that besides the weights: a name of kept answers holds it."""
        return ()

    @property
    def knows_scales(self) -> bool:
        """Whether its weights saw targets at every scale, as published ones of encoders of colour images did."""
        return self.channel_order is not None

    @property
    def strokes(self) -> tuple[str, ...]:
        """Which of scribbles and lassos `low_res` takes as they are; the others reach it as clicks and boxes."""
        return ()

    @property
    def main_part(self) -> nn.Module:
        """The part that most of the time goes to, which torch.compile compiles."""
        return self.image_encoder

    def low_res(self, embedding: Embedding, prompt: Prompt, multimask: bool) -> tuple[Tensor, Tensor]:
        """Return mask logits [n,k,*mask_size] before the prior's bias, and predicted IoU [n,k].

        Args:
            embedding: of b images.
            prompt: n = b·m of them, with strokes of the kinds in `strokes` alone.
            multimask: give the alternatives, instead of the single mask.
        """
        raise NotImplementedError

    def start_from(self, logits: Tensor) -> None:
        """Make the first answers lie around the mean of the logits [k] of a prior; ValueError for a model without one.

        A prompt may ask for any of several structures, and all share one bias.
        """
        if self.output_bias is None:
            raise ValueError("expected a model built with a prior; got model.prior=null")
        with torch.no_grad():
            self.output_bias.fill_(float(logits.mean()))

    def encode(self, image: Tensor) -> Embedding:
        """Return embeddings of images [b,c,h,w] in [0,1], grey or RGB; ValueError unless they are of `image_shape`."""
        if tuple(image.shape[2:]) != self.image_shape:
            raise ValueError(
                f"expected images of {'×'.join(map(str, self.image_shape))}; got {tuple(image.shape[2:])}: set "
                "data.window to the model's image_size"
            )
        return self.image_encoder(self.standardised(image))

    def standardised(self, image: Tensor) -> Tensor:
        """Return images [b,c,h,w] in [0,1] as the encoder sees them."""
        return (self._coloured(image) - self.pixel_mean) / self.pixel_std

    def _coloured(self, image: Tensor) -> Tensor:
        """Return images with the channels the encoder was made for."""
        if self.channel_order is None:
            return image
        if image.shape[1] == 1:
            return image.expand(-1, 3, -1, -1)
        if image.shape[1] != 3:
            raise ValueError(f"expected grey images or RGB ones; got {image.shape[1]} channels")
        return image.flip(1) if self.channel_order == "bgr" else image

    def shared(self, embedding: Embedding) -> Embedding:
        """Return an embedding with what all answers about it have in common, for those who ask it several times."""
        return embedding

    def decode(self, embedding: Embedding, prompt: Prompt, multimask: bool = False) -> Answer:
        """Answer n = b·m prompts about b images, prompts i·m to (i+1)·m − 1 about image i.

        multimask: give the decoder's alternatives, k of them, instead of its single mask.

        Raises:
            ValueError: prompts that are no multiple of the images, multimask of a decoder without alternatives.
        """
        return self._enlarged(*self._decoded(embedding, prompt, multimask))

    def answer(self, embedding: Embedding, prompt: Prompt) -> Answer:
        """Give one mask a prompt in the way the model is meant to: its single one or the best alternative, k = 1."""
        low_res, predicted_iou = self._decoded(embedding, prompt, self.multimask)
        if self.multimask:
            best = predicted_iou.argmax(1, keepdim=True)
            low_res = torch.take_along_dim(low_res, best[:, :, None, None], dim=1)
            predicted_iou = torch.take_along_dim(predicted_iou, best, dim=1)
        return self._enlarged(low_res, predicted_iou)

    def _decoded(self, embedding: Embedding, prompt: Prompt, multimask: bool) -> tuple[Tensor, Tensor]:
        """Return mask logits [n,k,*mask_size] and predicted IoU [n,k]."""
        if len(prompt) == 0 or len(prompt) % len(embedding.tokens):
            raise ValueError(
                f"expected as many prompts for each image; got {len(prompt)} prompts for {len(embedding.tokens)} "
                "images: fill up with empty prompts"
            )
        if multimask:
            self.check_alternatives()
        prompt = as_clicks_and_boxes(prompt, known=self.strokes)
        if self.checkpointing and torch.is_grad_enabled():
            return checkpoint(self._biased, embedding, prompt, multimask, use_reentrant=False, preserve_rng_state=False)
        return self._biased(embedding, prompt, multimask)

    def _biased(self, embedding: Embedding, prompt: Prompt, multimask: bool) -> tuple[Tensor, Tensor]:
        low_res, predicted_iou = self.low_res(embedding, prompt, multimask)
        return low_res if self.output_bias is None else low_res + self.output_bias, predicted_iou

    def _enlarged(self, low_res: Tensor, predicted_iou: Tensor) -> Answer:
        size = (self.image_size, self.image_size)
        logits = F.interpolate(low_res.float(), size=size, mode="bilinear", align_corners=False)
        return Answer(logits=logits, low_res_logits=low_res, predicted_iou=predicted_iou)

    def forward(self, image: Tensor) -> Tensor:
        """Return the logits [b,1,h,w] of images without any prompt."""
        embedding = self.encode(image)
        nothing = Prompt.none(len(image), device=image.device, axes=3 if self.of_volumes else 2)
        return self.answer(embedding, nothing).logits

    def check_alternatives(self) -> None:
        """Raise ValueError for a model that gives one mask a prompt."""
        if self.alternatives == 0:
            raise ValueError("expected a model that gives several masks, as sam_vit_b; got one of a single mask")
