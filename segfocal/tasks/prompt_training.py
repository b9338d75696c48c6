"""What a user may set of interactive training, in one checked record: rounds, prompts, masks, memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from segfocal.tasks.first_prompt import FirstPrompt, check_word
from segfocal.tasks.multimask import Multimask
from segfocal.tasks.rounds import RoundPlan

_MOST = 1000  # of rounds, and of prompts an image


@dataclass(frozen=True, kw_only=True)
class PromptTraining:
    """Options of `Promptable`.

    Args:
        rounds: answers to a prompt, ≥ 1. One by default: no corrections.
        trained_rounds: "all", the default: the loss is the mean over the rounds. "drawn": a step draws how many rounds
            it makes, 1 to `rounds`, and learns from the last alone, as Sofiiuk et al. 2022; those before are answered
            without gradients, so a step takes less than half of the time where each answer is a whole pass.
        first: how the prompts of the first round are drawn.
        plan: how the prompts of the later rounds are drawn.
        masks_per_image: prompts an image, ≥ 1, each for one structure drawn from those present (`draw_structures`);
            None, the default, for every structure once.
        multimask: "single", the default, trains the decoder's one mask. With the others it gives three, and the mask
            losses see one of them: "best_predicted" the one of highest predicted IoU, as SAM-Med2D; "best_true" the one
            that overlaps the target most, as SAM. Corrections always follow the highest predicted IoU, and the IoU head
            learns from all three.
        recompute: decode again in the backward pass instead of keeping activations; False, because it takes time.
        embeddings: a folder of saved encodings (`EmbeddingCache`), for a frozen encoder and images that come again;
            None, the default, encodes every time.

    Raises:
        ValueError: rounds or masks_per_image < 1 or > 1000; an unknown word; a plan that needs more rounds.
    """

    rounds: int = 1
    trained_rounds: Literal["all", "drawn"] = "all"
    first: FirstPrompt = field(default_factory=FirstPrompt)
    plan: RoundPlan = field(default_factory=RoundPlan)
    masks_per_image: int | None = None
    multimask: Multimask = "single"
    recompute: bool = False
    embeddings: str | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.rounds <= _MOST:
            raise ValueError(f"expected task.rounds ≥ 1, at most {_MOST}; got {self.rounds}")
        check_word("task.trained_rounds", self.trained_rounds, "all", "drawn")
        if self.masks_per_image is not None and not 1 <= self.masks_per_image <= _MOST:
            raise ValueError(f"expected task.masks_per_image ≥ 1, at most {_MOST}, or null; got {self.masks_per_image}")
        self.plan.check(self.rounds)
