"""The pictures of an evaluation."""

from segfocal.evaluate.evaluate import evaluate
from tests.evaluate.folders import mask_evaluation


def test_an_unreadable_scan_costs_the_picture_its_background_only(folders, tmp_path):
    (tmp_path / "images").mkdir()
    for n in range(7):
        (tmp_path / "images" / f"c{n}.nii.gz").write_bytes(b"no gzip")
    evaluate(mask_evaluation(folders, tmp_path / "out", image=tmp_path / "images", groups=["overlap"]))
    assert len(list((tmp_path / "out" / "overlays").glob("*.png"))) == 2
