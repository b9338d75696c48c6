"""What a program without segfocal needs to know besides the network: every number and rule around it, as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import segfocal
from segfocal.files import sha256_of
from segfocal.inference.bundle import Bundle
from segfocal.inference.postprocess import describe
from segfocal.inference.sliding.windows import FLOOR, SIGMA_SHARE
from segfocal.intensity import OfOne, Window, of_channels

_FORMAT = 1
_FRAME = (
    "one letter an array axis, the direction in which that axis grows (R/L, A/P, S/I): permute and flip the scan's "
    "axes to the nearest such frame, interpolate nothing; axis 0 is the slice axis"
)
_LINEAR = (
    "linear along each axis, pixel edges (not centres) coincide; where it shrinks the triangle widens by the ratio of "
    "the sizes (antialiased)"
)
_SIZE = (
    "pixels of an axis = max(1, round half to even(pixels now · spacing now / spacing_mm)); both null keep the scan's "
    "own pixels; size [h,w] is the size of every slice"
)
_RESAMPLING = {  # by how many axes spacing_mm has
    2: {
        "image": f"each slice, before intensity: {_LINEAR}; the slice axis is never resampled",
        "size": _SIZE,
        "logits": "back to the scan's pixels slice by slice, by the same interpolation, before the threshold",
    },
    3: {
        "image": f"the volume, before intensity: {_LINEAR}; the slice axis too, spacing_mm is [d,h,w]",
        "size": _SIZE,
        "logits": "back to the scan's voxels along all three axes, by the same interpolation, before the threshold",
    },
}
_PADDED = "is padded with zeros, split evenly, the odd one after; the padding is cut off the logits"
_SEEN = {  # by how many axes windows have
    2: f"each slice alone through 2-D windows; a slice smaller than the window {_PADDED}",
    3: f"the volume through 3-D windows [d,h,w]; a volume smaller than the window {_PADDED}",
}
_WINDOWS = {
    "starts": "of each axis: 0, step, 2·step … with step = max(1, floor(window · (1 − overlap))); the last window is "
    "moved back to end with the axis",
    "weights": "of each axis: max(exp(−d²/(2·(sigma_share·window)²)), floor), d the distance from the window's middle, "
    "divided by their sum over all windows at that pixel; a pixel's weight is the product over the axes",
    "blended": "logits, in float32",
}
_CHANNELS = {  # by how many axes windows have
    2: "image [b,c,h,w] of slice z holds slices z − neighbours … z + neighbours in this order, each with the scan's "
    "channels in theirs; beyond the first and the last slice these are repeated",
    3: "image [b,c,d,h,w] holds the scan's channels in their order",
}
_THRESHOLD = "the structure with the largest logit, where that is above 0; background elsewhere"
_RULES = (
    "in voxels of the scan, for each structure: components (26 neighbours) below minimum_mm3, or minimum_share of "
    "the largest, go, then all but the largest if largest; then, for all structures so cut back, holes of at most "
    "holes_mm3: background of 6 neighbours that touches neither the volume's border nor another structure"
)


def facts(bundle: Bundle, *, overlap: float, folder: Path, networks: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return what `model.json` says; docs/export.md explains it.

    In it, intensity is a list, one entry a channel, where there are several.

    Args:
        bundle: that is exported.
        overlap: share of neighbouring windows, in [0,1), that the program is to use.
        folder: where the networks lie.
        networks: by file name in `folder`, what goes in and comes out (see `ports`).
    """
    intensities = [_intensity(own) for own in of_channels(bundle.intensity, bundle.channels)]
    return {
        "format": _FORMAT,
        "segfocal": segfocal.__version__,
        "networks": {name: {**ports, "sha256": sha256_of(folder / name)} for name, ports in networks.items()},
        "frame": bundle.grid.frame,
        "frame_rule": _FRAME,
        "spacing_mm": bundle.grid.spacing_mm,
        "size": bundle.grid.size,
        "resampling": _RESAMPLING[len(bundle.grid.spacing_mm or (1, 1))],
        "intensity": intensities[0] if len(intensities) == 1 else intensities,
        "channels": bundle.channels,
        "neighbours": bundle.neighbours,
        "channel_rule": _CHANNELS[len(bundle.window)],
        "window": list(bundle.window),
        "overlap": overlap,
        "weighting": "gaussian",
        "sigma_share": SIGMA_SHARE,
        "floor": FLOOR,
        "windows": {"seen": _SEEN[len(bundle.window)], **_WINDOWS},
        "link": bundle.link,
        "threshold": 0.0,
        "label_rule": _THRESHOLD,
        "structures": [{"channel": k, "name": s.name, "value": s.value} for k, s in enumerate(bundle.structures)],
        "postprocess": describe(bundle.postprocess),
        "postprocess_rule": _RULES,
        "needs_prompts": bundle.needs_prompts,
        "training": bundle.training,
        "versions": {name: _version(name) for name in ("torch", "onnx", "onnxscript", "onnxruntime", "openvino")},
    }


def ports(session: Any) -> dict[str, list[dict[str, Any]]]:
    """Return the inputs and outputs of an onnxruntime session: name, shape with free sizes as words, type."""
    sides = {"inputs": session.get_inputs(), "outputs": session.get_outputs()}
    return {side: [_port(entry) for entry in entries] for side, entries in sides.items()}


def _port(entry: Any) -> dict[str, Any]:
    shape: Sequence[int | str] = list(entry.shape)
    return {"name": entry.name, "shape": shape, "type": entry.type.removeprefix("tensor(").removesuffix(")")}


def _intensity(intensity: OfOne) -> dict[str, Any]:
    if isinstance(intensity, Window):
        rule = "(x − lower) / (upper − lower), clipped to [0,1]; after resampling"
        return {"kind": "window", "lower": intensity.lower, "upper": intensity.upper, "rule": rule}
    rule = (
        "lower and upper are these percentiles (linear between voxels) of the resampled scan's voxels above its "
        "air: the first of the values below which 0.05, 0.01 and 0.001 of the voxels lie (the lower one of two) that "
        "ten times as many voxels have as lie below it, else the minimum; then (x − lower) / (upper − lower), clipped "
        "to [0,1]"
    )
    return {"kind": "percentiles", "low": intensity.low, "high": intensity.high, "rule": rule}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
