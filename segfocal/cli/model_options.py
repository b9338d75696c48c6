"""The model of a config, fitted to the data: as many classes, channels and dimensions as they have."""

from __future__ import annotations

from typing import Any


def build_model(
    plain: dict[str, Any], *, classes: int, channels: int, window: tuple[int, ...]
) -> tuple[Any, dict[str, Any]]:
    """Build the model, its first weights a function of the seed, and the config that rebuilds it.

    Args:
        plain: a config with `model` and `seed`.
        classes: number of targets; for a model with that option.
        channels: of its images, neighbouring slices included; for a model with that option. Others take grey images,
            and RGB ones if they have a `channel_order`.
        window: pixels (h, w), or voxels (d, h, w) for a model with the option `dims`, or with an `image_size` of three
            sides.

    Raises:
        ValueError: a window or a number of channels that the model cannot have.
    """
    import torch

    from segfocal import models

    config = {key: value for key, value in plain["model"].items() if key != "weights"}
    if config.get("prior") is None:  # which also models without that option understand
        config.pop("prior", None)
    known = {"classes": classes, "channels": channels, "dims": len(window)}
    config |= {key: value for key, value in known.items() if key in config}
    if len(window) == 3 and "dims" not in config and not isinstance(config.get("image_size"), list):
        raise ValueError(
            f"expected data.window of two numbers for this model; got {list(window)}: use model=unet task=semantic, or "
            "model=prompt_unet"
        )
    possible = (1, 3) if "channel_order" in config else (1,)
    if "channels" not in config and channels not in possible:
        raise ValueError(
            f"expected {' or '.join(map(str, possible))} channel{'s' * (possible[-1] > 1)} for this model; got "
            f"{channels} (those of a scan, of a slice and data.neighbours on each side): choose model=sam_tiny or unet"
        )
    torch.manual_seed(plain["seed"])
    model = models.build(config)
    if not isinstance(model, models.SegmentationModel):
        return model, config
    shape, multiple = model.image_shape, model.size_multiple
    if shape is not None and window != shape:
        sides = "×".join(map(str, shape))
        raise ValueError(f"expected a window of the model's image_size {sides}; got data.window={list(window)}")
    if any(side % multiple for side in window):
        raise ValueError(f"expected data.window in multiples of {multiple} for this model; got {list(window)}")
    return model, config
