"""An image as a viewer sends it, as a volume: its voxels checked, its axes where they are said or taken to point to."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from segfocal.grid import Volume, check_frame
from segfocal.serve.nninteractive.viewer_axes import affine_of, as_stored, taken_frame
from segfocal.serve.nninteractive.viewer_messages import ImageProperties
from segfocal.serve.refusal import Refused

_STORED = {"bool": "uint8", "float16": "float32"}  # NIfTI has neither
_LEAST_VOXEL_MM3 = 1e-9


def volume_of(image: NDArray, properties: ImageProperties, *, frame: str, said: str | None) -> Volume:
    """Return an image as a volume.

    Args:
        image: [c,…] of three axes.
        properties: what its sender says of it; that counts first.
        frame: of the model, by which the spacing is understood where nobody says more.
        said: where the axes of images point to, as whoever began the server says; None says nothing.

    Raises:
        Refused: voxels that are not finite, an orientation or affine that is none.
    """
    if image.dtype.kind == "f" and not np.isfinite(image).all():
        raise Refused(422, expected="finite voxels", found="NaN or infinite ones", do="replace them (numpy.nan_to_num)")
    voxels = image[0] if len(image) == 1 else image
    voxels = voxels.astype(_STORED.get(voxels.dtype.name, voxels.dtype), copy=False)
    if properties.affine is not None:
        return as_stored(voxels, _checked(np.array(properties.affine)))
    spacing = properties.spacing or [1.0, 1.0, 1.0]
    axes = properties.orientation or said or taken_frame(image.shape[1:], spacing, frame)
    try:
        check_frame(axes)
    except ValueError as error:
        expected, do = "an orientation of three letters, as SPL", "say where the axes point to"
        raise Refused(422, expected=expected, found=repr(axes)[:20], do=do) from error
    return as_stored(voxels, affine_of(spacing, axes))


def _checked(affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return an affine [4,4]; Refused where it cannot be inverted."""
    if abs(np.linalg.det(affine[:3, :3])) < _LEAST_VOXEL_MM3 or affine[3].tolist() != [0, 0, 0, 1]:
        raise Refused(
            422,
            expected="an affine that can be inverted",
            found=str(affine.tolist())[:120],
            do="send that of the image",
        )
    return affine
