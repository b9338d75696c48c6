"""What a bundle can be asked, in the words of the viewers' protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import segfocal
from segfocal.inference.predictor import Predictor
from segfocal.serve import drawn
from segfocal.serve.mask import takes_prompts

_THICKNESS = 3  # voxels of a brush for scribbles: a line is taken through their middle
_UNKNOWN_LICENCE = "!!MISSING!!"  # the protocol's word for it


def sees_volumes(predictor: Predictor) -> bool:
    """Return whether the model looks at volumes rather than at slices."""
    return len(predictor.bundle.window) == 3


def capabilities(predictor: Predictor) -> dict[str, Any]:
    """Return what viewers enable their tools by.

    `segfocal` is for scripts: structures, and how each kind of prompt reaches the model.
    """
    bundle, prompted = predictor.bundle, takes_prompts(predictor)
    weights = bundle.training.get("weights")
    licence = weights.get("licence") if isinstance(weights, Mapping) else None
    return {
        "supported_interactions": {
            "points": prompted,
            "bbox2d": prompted,
            "bbox3d": prompted and sees_volumes(predictor),
            "scribble": prompted,
            "lasso": prompted,
        },
        "channel_mapping": {},  # prompts are no channels here
        "num_interaction_channels": 0,
        "supports_initial_label": prompted,
        "supports_zero_shot_label_refinement": False,
        "preferred_scribble_thickness": [_THICKNESS] * 3,
        "interaction_decay": None,
        "do_autozoom": True,
        "supports_undo": True,
        "inference_session_version": f"segfocal {segfocal.__version__}",
        "license": licence if isinstance(licence, str) else _UNKNOWN_LICENCE,
        "segfocal": {
            "structures": [structure.name for structure in bundle.structures],
            "prompts": {kind: prompted and how for kind, how in drawn.KINDS.items()},
            "without_prompt": not bundle.needs_prompts,
            "frame": bundle.grid.frame,
            "channels": bundle.channels,
        },
    }
