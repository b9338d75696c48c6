"""The layout of FLARE's submissions: /workspace/inputs/CASE_0000.nii.gz in, /workspace/outputs/CASE.nii.gz out."""

import os
import sys
from pathlib import Path

import segfocal
from segfocal.errors import UserError

ENDING = "_0000.nii.gz"


def main(bundle, inputs, outputs):
    """Segment every scan; a bad one is told, stops no other, and makes the exit code 1."""
    model, failed = segfocal.load(bundle), 0
    outputs.mkdir(parents=True, exist_ok=True)
    for scan in sorted(inputs.glob(f"*{ENDING}")):
        try:
            mask = model.segment(scan)
        except UserError as error:
            print(f"error: {scan.name}: {error}", file=sys.stderr)
            failed += 1
            continue
        mask.to_filename(outputs / scan.name.replace(ENDING, ".nii.gz"))
    return 1 if failed else 0


if __name__ == "__main__":
    PLACES = {"BUNDLE": "/opt/bundle", "INPUTS": "/workspace/inputs", "OUTPUTS": "/workspace/outputs"}
    sys.exit(main(*(Path(os.environ.get(name, usual)) for name, usual in PLACES.items())))
