"""SAM: a promptable model of an image encoder, a prompt encoder and a mask decoder; parameters keep SAM's names."""

from __future__ import annotations

from torch import Tensor, nn

from segfocal.models.sam.image_embedding import Embedding
from segfocal.models.sam.mask_decoder import BatchMaskDecoder
from segfocal.models.sam.prompt_encoder import BatchPromptEncoder
from segfocal.models.sam.promptable_model import PromptableModel, PromptableOptions
from segfocal.prompts import Prompt

_FIRST, _REST = slice(0, 1), slice(1, None)  # SAM's mask tokens: the single mask, the alternatives


class SamModel(PromptableModel):
    """SAM's own composition. What makes the masks that are not given is frozen: no loss would reach it.

    Args:
        image_encoder: standardised images [b,c,h,w] of the model's size to an Embedding.
        prompt_encoder: prompts to sparse and dense embeddings.
        mask_decoder: embeddings to masks.
        options: how it takes images and answers.

    Raises:
        ValueError: multimask of a decoder without alternatives.
    """

    def __init__(
        self,
        *,
        image_encoder: nn.Module,
        prompt_encoder: BatchPromptEncoder,
        mask_decoder: BatchMaskDecoder,
        options: PromptableOptions,
    ) -> None:
        super().__init__(image_encoder=image_encoder, mask_size=prompt_encoder.mask_input_size, options=options)
        self.prompt_encoder = prompt_encoder
        self.mask_decoder = mask_decoder
        if self.multimask:
            self.check_alternatives()
        used = range(mask_decoder.num_mask_tokens)[self.masks]
        for i, network in enumerate(mask_decoder.output_hypernetworks_mlps):
            network.requires_grad_(i in used)

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
        return self.mask_decoder(
            embedding,
            self.prompt_encoder.get_dense_pe(),
            sparse,
            dense,
            visible=self.prompt_encoder.visible(prompt),
            masks=_REST if multimask else _FIRST,
        )
