"""What probability maps say of lesions: nothing where voxels are ignored, and nothing at all without a map."""

import numpy as np

from segfocal.evaluate.evaluate import evaluate
from tests.evaluate.folders import AFFINE, SHAPE, mask_evaluation, scan_of
from tests.scans import make_scan


def test_voxels_to_ignore_are_no_candidates(tmp_path):
    truth, seen = np.zeros((2, 9, 9, 4), np.uint8)
    truth[1:3, 1:3, 1:3], truth[6:8, 6:8, 1:3], seen[1, 1, 1], seen[6, 6, 1] = 1, 9, 1, 1
    for name, array in (("truth", truth), ("mask", seen), ("maps", seen.astype(np.float32))):
        make_scan(tmp_path / f"{name}.nii.gz", array)
    options = {"labels": {"ball": 1}, "ignore": 9, "groups": ["lesions"], "probabilities": tmp_path / "maps.nii.gz"}
    places = {"prediction": tmp_path / "mask.nii.gz", "reference": tmp_path / "truth.nii.gz"}
    (case,) = evaluate(mask_evaluation(tmp_path, tmp_path / "out", **places, **options))
    assert (case.candidates["ball"].false.tolist(), case.candidates["ball"].lesions.tolist()) == ([], [1.0])


def test_a_case_without_a_prediction_has_its_lesions_unseen(folders, tmp_path):
    for name in ("missed", "alarm", "empty", "broken", *(f"c{n}" for n in range(7))):
        make_scan(tmp_path / "maps" / f"{name}.nii.gz", np.zeros((*SHAPE, 2), np.float32), AFFINE)
    options = {"probabilities": tmp_path / "maps", "groups": ["lesions"], "pictures": 0}
    cases = {case.files.name: case for case in evaluate(mask_evaluation(folders, tmp_path / "out", **options))}
    assert cases["gone"].candidates["ball"].lesions.tolist() == [0]
    assert [metrics.roc_auc for metrics in cases["gone"].metrics] == [0.5, 0.5]


def test_without_lesions_there_are_no_candidates(tmp_path):
    truth = scan_of(5, dots=1)
    make_scan(tmp_path / "labels" / "a.nii.gz", truth, AFFINE)
    make_scan(tmp_path / "first" / "a.nii.gz", truth, AFFINE)
    make_scan(tmp_path / "maps" / "a.nii.gz", np.stack([truth == 1, truth == 2], -1).astype(np.float32), AFFINE)
    options = {"probabilities": tmp_path / "maps", "groups": ["overlap"], "pictures": 0}
    (case,) = evaluate(mask_evaluation(tmp_path, tmp_path / "out", **options))
    assert case.candidates == {}
    assert [metrics.roc_auc for metrics in case.metrics] == [1, 1]
    assert not (tmp_path / "out" / "froc.png").exists()
