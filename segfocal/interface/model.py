"""A trained model for Python programs: load a bundle once, then segment any number of scans, or answer prompts.

    model = segfocal.load("runs/first/bundle")
    mask = model.segment("ct.nii.gz")

What happens to a scan is what `segfocal predict` does to it, and the mask is the same.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, overload

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from segfocal.device import choose_device
from segfocal.errors import UserError, warn
from segfocal.grid import Grid, Volume
from segfocal.inference import bundle as bundles
from segfocal.inference.bundle import Bundle
from segfocal.inference.ensemble import members_of
from segfocal.inference.predictor import Predictor
from segfocal.inference.prompted.prompt_file import prompts_of
from segfocal.inference.prompted.propagation_options import PropagationOptions
from segfocal.inference.prompted.scan_prompts import ScanPrompts
from segfocal.inference.segment import segment_with
from segfocal.inference.sliding.sliding_options import SlidingOptions
from segfocal.interface.prompts_given import entries_of
from segfocal.interface.scans import GivenScan, paths_of, scan_of
from segfocal.predict.intensity_check import foreign_intensities
from segfocal.predict.predict import ready_predictor
from segfocal.predict.prediction import ScratchProbabilities
from segfocal.predict.prompts import propagated

PathLike = str | os.PathLike[str]


def load(
    bundle: PathLike | Sequence[PathLike],
    *,
    device: str | torch.device = "auto",
    postprocess: Literal["auto", "none"] = "auto",
    members: int | None = None,
    **sliding: Any,
) -> Model:
    """Return a bundle ready to segment scans.

    Args:
        bundle: its folder, that of an ensemble, or several whose logits are averaged.
        device: of the networks: "auto" for a GPU if there is one, "cpu", "cuda".
        postprocess: "auto" for the bundle's own rules, "none" for none.
        members: of an ensemble, how many of its models answer; None for all.
        sliding: how windows slide, by the names of `SlidingOptions`: overlap, weighting, batch_size, precision,
            accumulate, flips, crop, compile, engine.

    Raises:
        UserError: no bundle, one that is damaged, an option out of range.
    """
    places = paths_of(bundle)
    if places is None:
        raise UserError(expected="the folder of a bundle, or several", found=repr(bundle)[:60], do="give a path")
    folders = [member for place in places for member in members_of(place, most=members)]
    if postprocess not in ("auto", "none"):
        raise UserError(expected="postprocess auto or none", found=repr(postprocess), do="choose one")
    try:
        options = SlidingOptions(**sliding)
    except (TypeError, ValueError) as error:
        raise UserError(expected="options of SlidingOptions", found=str(error), do="change that option") from error
    loaded = [bundles.load(folder) for folder in folders]
    return Model(ready_predictor(loaded, postprocess=postprocess, sliding=options, device=choose_device(str(device))))


def segment(scan: Any, bundle: PathLike | Sequence[PathLike], affine: ArrayLike | None = None, **options: Any) -> Any:
    """Return the mask of one scan; for several, `load` the bundle once.

    Args:
        scan: as of `Model.segment`.
        bundle: as of `load`.
        affine: as of `Model.segment`.
        options: those of `load`.
    """
    return load(bundle, **options).segment(scan, affine)


class Model:
    """One bundle, or several, ready to segment scans; `load` makes it.

    Args:
        predictor: the bundles on their device.
    """

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self._session: TemporaryDirectory[str] | None = None  # of answers to prompts, gone with the model

    @property
    def bundle(self) -> Bundle:
        """The bundle, of several the first."""
        return self._predictor.bundle

    @property
    def structures(self) -> dict[str, int]:
        """The value of each structure in a mask, by its name."""
        return {structure.name: structure.value for structure in self.bundle.structures}

    @property
    def device(self) -> torch.device:
        """Where the networks run."""
        return self._predictor.device

    def __repr__(self) -> str:
        names = ", ".join(f"{name} {value}" for name, value in self.structures.items())
        return f"<segfocal.Model of {names} on {self.device} by {', '.join(self._predictor.engines)}>"

    @overload
    def segment(self, scan: Volume, affine: None = None) -> Volume: ...
    @overload
    def segment(self, scan: NDArray, affine: ArrayLike) -> NDArray: ...
    @overload
    def segment(self, scan: Any, affine: ArrayLike | None = None) -> Any: ...
    def segment(self, scan: Any, affine: ArrayLike | None = None) -> Any:
        """Return the label map of a scan, each structure's voxels with its value in `structures`.

        A warning tells of a scan whose values are unlike those of the training.

        Args:
            scan: a path, or one for each channel, an image of nibabel's, a volume, or an array [x,y,z] (of several
                channels [x,y,z,c]).
            affine: of an array, [4,4] from voxel indices to world mm.

        Returns:
            What the scan was: an image of nibabel's for such an image or a path, a volume for a volume, an array for an
            array. It has the scan's shape and place. Of structures that may overlap, a voxel's value is the sum of
            those of all that it lies in.

        Raises:
            UserError: a scan that cannot be read, of other channels than the bundle takes, or a model that needs
                prompts.
        """
        given = self._given(scan, affine)
        return given.back(segment_with(self._predictor, given.volume))

    def probabilities(self, scan: Any, affine: ArrayLike | None = None) -> dict[str, NDArray[np.float32]]:
        """Return the probability [x,y,z] of each structure, by its name, to one part in 65,535.

        Args:
            scan: as of `segment`.
            affine: as of `segment`.
        """
        given = self._given(scan, affine)
        grid, one = given.volume.grid, np.float32(65535)
        arrays = [np.zeros(grid.shape, np.uint16) for _ in self.bundle.structures]
        segment_with(self._predictor, given.volume, watch=ScratchProbabilities(arrays, self.bundle, grid))
        return {name: array.astype(np.float32) / one for name, array in zip(self.structures, arrays, strict=True)}

    def prompt(
        self,
        scan: Any,
        points: Sequence[Any] = (),
        boxes: Sequence[Any] = (),
        *,
        outside: Sequence[Any] = (),
        structure: str | None = None,
        affine: ArrayLike | None = None,
        space: Literal["voxel", "world"] = "voxel",
        propagate: bool | PropagationOptions = True,
    ) -> Any:
        """Return the label map of a scan as prompts on a few of its slices ask for it.

        Boxes count first, then points, then points outside. Answers are kept as long as the model is: asked again with
        a prompt more, only the slices are answered that it changes.

        Args:
            scan: as of `segment`.
            points: inside the structure, each [i,j,k].
            boxes: two corners each, [[i,j,k], [i,j,k]], both inside the box; of one slice or of several.
            outside: points that are not in the structure.
            structure: which one; None where the bundle has one alone. A prompt of another structure is an entry as in
                docs/prompted_volumes.md: {"point": [i,j,k], "structure": "spleen"}.
            affine: as of `segment`.
            space: "voxel" for indices of the scan's array, "world" for mm.
            propagate: True hands answers on to the slices without a prompt, by the usual rules or those given; False
                answers each slice of a box alone, and takes no points.

        Returns:
            As `segment`.

        Raises:
            UserError: no prompt, one outside the scan or of no structure, a model that takes none.
        """
        given = self._given(scan, affine)
        listed = entries_of(points, outside, boxes, structure)
        prompts = self._prompts(listed, given.volume.grid, space=space, propagate=propagate)
        return given.back(segment_with(self._predictor, given.volume, prompts=prompts))

    def _given(self, scan: Any, affine: ArrayLike | None) -> GivenScan:
        given = scan_of(scan, affine)
        if len(given.volume.channels()) == self.bundle.channels and (
            foreign := foreign_intensities(given.volume, self.bundle)
        ):
            warn(str(foreign), stacklevel=3)
        return given

    def _prompts(
        self, listed: Sequence[Mapping[str, Any]], scan: Grid, *, space: str, propagate: bool | PropagationOptions
    ) -> ScanPrompts:
        bundle = self.bundle
        alone = propagate is False
        prompts = prompts_of(list(listed), scan, bundle.structures, bundle.grid, space=space, boxes_only=alone)
        if alone:
            return ScanPrompts(prompts=prompts, structures=bundle.structures)
        if self._session is None:
            self._session = TemporaryDirectory(prefix="segfocal_")
        options = propagate if isinstance(propagate, PropagationOptions) else PropagationOptions()
        return propagated(prompts, scan, bundle, folder=Path(self._session.name), options=options)
