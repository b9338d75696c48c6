"""Ten cases of every kind, and what they were judged."""

import pytest

from segfocal.evaluate.evaluate import evaluate
from tests.evaluate.folders import AFFINE, mask_evaluation, scan_of
from tests.scans import make_scan


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """Masks of seven good cases, a miss, a false alarm, an empty case, one without a prediction, and one broken."""
    root = tmp_path_factory.mktemp("folders")
    true = {f"c{n}": scan_of(4 + 0.3 * n, dots=1 + n % 3) for n in range(7)}
    true |= {"missed": scan_of(5), "alarm": scan_of(0), "empty": scan_of(0), "gone": scan_of(5), "broken": scan_of(5)}
    first = {f"c{n}": scan_of(3 + 0.4 * n, dots=1) for n in range(7)}
    first |= {"missed": scan_of(0), "alarm": scan_of(3), "empty": scan_of(0), "spare": scan_of(1)}
    second = {name: scan_of(4.2, dots=2) for name in true}
    for folder, masks in (("labels", true), ("first", first), ("second", second)):
        for name, array in masks.items():
            suffix = "_mask" if folder == "first" else ""
            make_scan(root / folder / f"{name}{suffix}.nii.gz", array, AFFINE)
    (root / "first" / "broken_mask.nii.gz").write_bytes(b"no gzip")
    return root


@pytest.fixture(scope="session")
def judged(folders, tmp_path_factory):
    """The cases judged, with a second prediction, and the folder of the results."""
    output = tmp_path_factory.mktemp("judged")
    return evaluate(mask_evaluation(folders, output, against=folders / "second")), output
