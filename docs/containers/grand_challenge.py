"""The layout of grand-challenge's algorithms: /input/images/SLUG/NAME.mha in, /output/images/SLUG/NAME.mha out.

MetaImage is read by SimpleITK (extra metaimage). Its arrays are [z,y,x], its world is LPS+; segfocal's are [x,y,z] and
RAS+.
"""

import os
import sys
from pathlib import Path

import numpy as np
import SimpleITK as sitk

import segfocal


def affine_of(image):
    """Return the affine [4,4] from voxel indices [x,y,z] to RAS+ mm."""
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def main(bundle, inputs, outputs):
    """Segment the scans of every image slug of the input into the slug of the output."""
    model = segfocal.load(bundle)
    outputs.mkdir(parents=True, exist_ok=True)
    for file in sorted(inputs.glob("*/*.mha")):
        image = sitk.ReadImage(file)
        mask = model.segment(sitk.GetArrayFromImage(image).T, affine_of(image))
        written = sitk.GetImageFromArray(np.ascontiguousarray(mask.T).astype(np.uint8))
        written.CopyInformation(image)
        sitk.WriteImage(written, outputs / file.name, useCompression=True)
    return 0


if __name__ == "__main__":
    PLACES = {"BUNDLE": "/opt/bundle", "INPUTS": "/input/images", "OUTPUTS": "/output/images/segmentation"}
    sys.exit(main(*(Path(os.environ.get(name, usual)) for name, usual in PLACES.items())))
