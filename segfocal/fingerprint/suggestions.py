"""From a fingerprint to options worth trying, each with the number it rests on.

Two kinds of ground, and the sentences say which: arithmetic on the data, and this project's own measurements
(docs/results.md: one target, one pair of scans, so a hint and no law).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from segfocal.fingerprint.geometry import LARGEST, SIDE, Geometry

_SMALL, _LARGE = 0.01, 0.1  # shares of the voxels below which a target is small, above which it is not
_HU_AIR = -500.0
CT_WINDOW = (-160.0, 240.0)  # the window of intensity=ct_soft_tissue


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """A value for an option, and why.

    Args:
        option: its dotted name, or a group's, such as loss.
        value: of the option, or a list of values to try where it is swept.
        why: one sentence with the number it rests on.
        swept: a run for each of the values.
    """

    option: str
    value: Any
    why: str
    swept: bool = False


def percent(share: float) -> str:
    """Return a share in percent, to two digits where it is small."""
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.0f} %"


def suggest(fingerprint: Mapping[str, Any], data: Mapping[str, Any]) -> list[Suggestion]:
    """Return suggestions for the structures of a fingerprint as training targets, and the present options of data.

    Raises:
        ValueError: no voxel of any structure.
    """
    found = {name: row for name, row in fingerprint["structures"].items() if row["voxels"]}
    if not found:
        raise ValueError("expected a voxel of some target in the cases that were read; got none")
    rarest = min(found, key=lambda name: found[name]["voxel_share"])
    share = found[rarest]["voxel_share"]
    return [
        *_geometry(fingerprint, found, data),
        _foreground(rarest, found[rarest]),
        *(_rare(found) if len(found) > 1 else []),
        _loss(rarest, share),
        _prior(rarest, share),
        _alpha(rarest, share),
        _gamma(fingerprint["background"]["easy_share"]),
    ]


def _geometry(fingerprint: Mapping[str, Any], found: Mapping[str, Any], data: Mapping[str, Any]) -> list[Suggestion]:
    """Return what is suggested for spacing, window and intensity: of pictures, which have no spacing, nothing."""
    if data["spacing_mm"] is None:
        return []
    geometry = Geometry.of(fingerprint)
    return [_spacing(geometry), _window(geometry), _intensity(fingerprint, found)]


def _spacing(geometry: Geometry) -> Suggestion:
    mm, own = geometry.coarse_mm, " × ".join(f"{side:.2f}" for side in geometry.pixel_mm)
    why = (
        f"The median component of {geometry.smallest} is {geometry.across_mm:.0f} mm across: a sixth of that, no finer "
        f"than the median pixel of {own} mm, and at most 3 mm."
    )
    return Suggestion(option="data.spacing_mm", value=[mm, mm], why=why)


def _window(geometry: Geometry) -> Suggestion:
    mm = geometry.coarse_mm
    whole = " × ".join(f"{body / mm:.0f}" for body in geometry.body_mm)
    why = (
        f"At this spacing a slice has about {whole} pixels: the whole slice in multiples of {SIDE}, "
        f"but no more than {LARGEST['coarse']}."
    )
    return Suggestion(option="data.window", value=geometry.window(mm, "coarse"), why=why)


def intensity_for(fingerprint: Mapping[str, Any]) -> str:
    """Return the kind of intensity for volumes: a CT window where the background goes down to air, else percentiles."""
    return "ct_soft_tissue" if _lowest(fingerprint) < _HU_AIR else "percentiles"


def _lowest(fingerprint: Mapping[str, Any]) -> float:
    return fingerprint["background"]["intensities"].get("0.5", 0.0)


def _intensity(fingerprint: Mapping[str, Any], found: Mapping[str, Any]) -> Suggestion:
    chosen, lowest = intensity_for(fingerprint), _lowest(fingerprint)
    if chosen == "ct_soft_tissue":
        inner = [row["intensities"] for row in found.values()]
        low, high = min(row["5"] for row in inner), max(row["95"] for row in inner)
        cut = low < CT_WINDOW[0] or high > CT_WINDOW[1]
        why = (
            f"The background goes down to {lowest:.0f}, as air does in Hounsfield units; the targets lie between "
            f"{low:.0f} and {high:.0f} (5th to 95th percentile), the window from {CT_WINDOW[0]:.0f} "
            f"to {CT_WINDOW[1]:.0f}"
            f"{' cuts some of that off: see intensity.lower and upper' if cut else ' holds that'}."
        )
        return Suggestion(option="intensity", value=chosen, why=why)
    why = (
        f"The background goes down to {lowest:.0f} only, so these are no Hounsfield units: each scan's own percentiles."
    )
    return Suggestion(option="intensity", value=chosen, why=why)


def _foreground(name: str, row: Mapping[str, Any]) -> Suggestion:
    held, share = row["slice_share"], row["voxel_share"]
    needed = math.ceil(max(0.0, (0.5 - held) / (1 - held)) * 10 - 1e-9) / 10 if held < 1 else 0.0
    seen = "too seldom" if needed else "often enough"
    why = f"{name} lies in {held:.0%} of the slices, which drawn alike show it {seen}"
    if share < _SMALL:
        why += (
            f", and fills {percent(share)} of the voxels: measured on the aorta (0.13 %), drawing half of the samples "
            "around it took plain cross-entropy from Dice 0.000 to 0.560 (one seed)."
        )
        return Suggestion(option="data.foreground", value=0.5, why=why)
    why += "; with this share at least half of the samples do."
    return Suggestion(option="data.foreground", value=needed, why=why)


def _rare(found: Mapping[str, Any]) -> list[Suggestion]:
    shares = sorted(row["voxel_share"] for row in found.values())
    ratio = shares[-1] / shares[0]
    if ratio < 10:
        why = f"The largest target has {ratio:.1f} times the voxels of the smallest: below ten they are drawn alike."
        return [Suggestion(option="data.rare", value=0.0, why=why)]
    why = (
        f"The largest target has {ratio:.0f} times the voxels of the smallest, which with 0.5 is drawn "
        f"{ratio**0.5:.0f} times as often; reasoning alone, nothing measured."
    )
    return [Suggestion(option="data.rare", value=0.5, why=why)]


def _loss(name: str, share: float) -> Suggestion:
    ground = (
        "measured on the aorta (0.13 %): Dice 0.744 ± 0.010 against 0.563 ± 0.094 with plain cross-entropy"
        if share < _SMALL
        else "the default, with which the liver (3 %) was measured; no other loss was compared on a target this large"
    )
    return Suggestion(option="loss", value="focal+dice", why=f"{name} fills {percent(share)} of the voxels; {ground}.")


def _prior(name: str, share: float) -> Suggestion:
    if share >= _LARGE:
        return Suggestion(
            option="model.prior", value=None, why=f"{name} fills {percent(share)} of the voxels: no need."
        )
    why = (
        f"An untrained model says 50 % everywhere, {name} fills {percent(share)}: starting from that costs nothing and "
        "was, of five remedies alone, the best for the aorta (Dice 0.755 from 0.000, one seed)."
    )
    return Suggestion(option="model.prior", value="auto", why=why)


def _alpha(name: str, share: float) -> Suggestion:
    values = [0.5, 0.75, 0.9] if share < _SMALL else [0.25, 0.5, 0.75]
    why = (
        f"{name} fills {percent(share)} of the voxels. A mask holds what is likelier than 1 − α, and the best Dice "
        "what is likelier than half of it, so α = 1 − Dice / 2: 0.75 for a Dice of 0.5, 0.9 for one of 0.2. The "
        "literature's 0.25 left the aorta (0.13 %) out of every mask, 0.75 gave it Dice 0.76 (one seed)."
    )
    return Suggestion(option="loss.terms.focal.alpha", value=values, why=why, swept=True)


def _gamma(easy: float) -> Suggestion:
    why = (
        f"{easy:.0%} of the background is easy, which is what γ turns down; the literature uses 0 to 2 (0 does not "
        "focus, the control), and from 1 to 4 our 49 runs could not tell the values apart (means within 0.032)."
    )
    return Suggestion(option="loss.terms.focal.gamma", value=[0.0, 1.0, 2.0], why=why, swept=True)
