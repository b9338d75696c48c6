"""SAM: a promptable model of an image encoder, a prompt encoder and a mask decoder; parameters keep SAM's names."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.jit import is_tracing  # type: ignore[attr-defined]

from segfocal.models.quick_linear import quicken
from segfocal.models.sam.image_embedding import Embedding
from segfocal.models.sam.mask_decoder import BatchMaskDecoder
from segfocal.models.sam.prompt_encoder import BatchPromptEncoder
from segfocal.models.sam.promptable_model import PromptableModel, PromptableOptions
from segfocal.prompts import Prompt

_FIRST, _REST = slice(0, 1), slice(1, None)  # SAM's mask tokens: the single mask, the alternatives


class SamModel(PromptableModel):
    """SAM's own composition. What makes the masks that are not given is frozen: no loss would reach it.

    With a correction decoder all that answers boxes alone is frozen, the image encoder among it, so that their answers
    stay what they were while those to other prompts are trained.

    Args:
        image_encoder: standardised images [b,c,h,w] of the model's size to an Embedding.
        prompt_encoder: prompts to sparse and dense embeddings.
        mask_decoder: embeddings to masks.
        options: how it takes images and answers.
        correction_decoder: answers prompts with clicks or a mask in place of mask_decoder, of which weights without it
            make a copy; None for mask_decoder alone.

    Raises:
        ValueError: multimask of a decoder without alternatives, a correction decoder beside one that takes details.
    """

    def __init__(
        self,
        *,
        image_encoder: nn.Module,
        prompt_encoder: BatchPromptEncoder,
        mask_decoder: BatchMaskDecoder,
        options: PromptableOptions,
        correction_decoder: BatchMaskDecoder | None = None,
    ) -> None:
        super().__init__(image_encoder=image_encoder, mask_size=prompt_encoder.mask_input_size, options=options)
        self.prompt_encoder = prompt_encoder
        self.mask_decoder = mask_decoder
        self.correction_decoder = correction_decoder
        quicken(self)
        if self.multimask:
            self.check_alternatives()
        used = range(mask_decoder.num_mask_tokens)[self.masks]
        for decoder in filter(None, (mask_decoder, correction_decoder)):
            for i, network in enumerate(decoder.output_hypernetworks_mlps):
                network.requires_grad_(i in used)
        if correction_decoder is not None:
            if len(mask_decoder.detail_projections):  # `shared` projects for one decoder
                raise ValueError("expected a mask decoder without details beside a correction decoder; got one with")
            image_encoder.requires_grad_(False)
            mask_decoder.requires_grad_(False)
            for part in prompt_encoder.parts_for_boxes:
                part.requires_grad_(False)

    @property
    def alternatives(self) -> int:
        """How many masks the decoder can give to choose from."""
        return self.mask_decoder.num_multimask_outputs

    @property
    def masks(self) -> slice:
        """SAM's mask tokens among which `answer` chooses."""
        return _REST if self.multimask else _FIRST

    def shared(self, embedding: Embedding) -> Embedding:
        """Return an embedding with what the decoder makes of its details, the same for every prompt."""
        return embedding._replace(projected=self.mask_decoder.projected(embedding.details))

    def low_res(self, embedding: Embedding, prompt: Prompt, multimask: bool) -> tuple[Tensor, Tensor]:
        """Return mask logits [n,k,h,w] as the decoder gives them, and predicted IoU [n,k]."""
        sparse, dense = self.prompt_encoder(prompt)
        if prompt.mask_logits is None and len(prompt) > len(embedding.tokens):
            dense = dense[:1]
        asked = (embedding, self.prompt_encoder.get_dense_pe(), sparse, dense)
        how = {"visible": self.prompt_encoder.visible(prompt), "masks": _REST if multimask else _FIRST}
        if self.correction_decoder is None:
            return self.mask_decoder(*asked, **how)
        corrects = prompt.beyond_boxes
        either = {bool(one) for one in corrects.unique()} if not _is_followed() else {True, False}  # waits for a GPU
        if either == {True}:
            return self.correction_decoder(*asked, **how)
        with torch.no_grad():
            low_res, iou = self.mask_decoder(*asked, **how)
        if either == {False} and not torch.is_grad_enabled():  # a batch of boxes alone has a gradient too: of zeros
            return low_res, iou
        corrected, corrected_iou = self.correction_decoder(*asked, **how)
        return (
            torch.where(corrects[:, None, None, None], corrected, low_res),
            torch.where(corrects[:, None], corrected_iou, iou),
        )


def _is_followed() -> bool:
    """Return whether a tracer or exporter writes down what is computed, for other prompts too."""
    return is_tracing() or torch.compiler.is_compiling()
