"""The pictures of an evaluation."""

import numpy as np

from segfocal.evaluate.evaluate import evaluate
from segfocal.evaluate.options import MaskEvaluation
from tests.evaluate.folders import mask_evaluation
from tests.scans import make_scan


def test_an_unreadable_scan_costs_the_picture_its_background_only(folders, tmp_path):
    (tmp_path / "images").mkdir()
    for n in range(7):
        (tmp_path / "images" / f"c{n}.nii.gz").write_bytes(b"no gzip")
    evaluate(mask_evaluation(folders, tmp_path / "out", image=tmp_path / "images", groups=["overlap"]))
    assert len(list((tmp_path / "out" / "overlays").glob("*.png"))) == 2


def test_a_case_may_be_named_in_dollars(tmp_path):
    array = np.zeros((6, 6, 4), np.uint8)
    array[2:4, 2:4, 1:3] = 1
    name = r"a$\frac{$.nii.gz"
    places = [make_scan(tmp_path / folder / name, array) for folder in ("masks", "labels", "images")]
    one = dict(zip(("prediction", "reference", "image"), places, strict=True))
    evaluate(MaskEvaluation(**one, output=tmp_path / "one"))
    assert (tmp_path / "one" / "overlay.png").is_file()
    folders = {what: path.parent for what, path in one.items()}
    evaluate(MaskEvaluation(**folders, output=tmp_path / "many"))
    assert len(list((tmp_path / "many" / "overlays").glob("*.png"))) == 1
