"""An evaluation that is killed while it writes: the same one goes on unasked, and nothing else is replaced."""

import signal

import numpy as np
import pytest

from segfocal.errors import UserError
from segfocal.evaluate.evaluate import evaluate
from segfocal.evaluate.options import EvaluationSettings, MaskEvaluation
from segfocal.files import claims_recorded
from tests.forked import die_before, run_forked
from tests.scans import make_scan

FILES = {
    "one": {"metrics.csv", "summary.csv", "metrics.json", "report.html", "overlay.png"},
    "many": {"metrics.csv", "summary.csv", "metrics.json", "report.html", "a_liver.png", "b_liver.png"},
}


def evaluation_of(root, output, *, many):
    settings = EvaluationSettings(labels={"liver": 1}, groups=["overlap"])
    name = "" if many else "a.nii.gz"
    places = {"prediction": root / "masks" / name, "reference": root / "labels" / name, "image": root / "scans" / name}
    return MaskEvaluation(**places, output=output, settings=settings, workers=1, pictures=2)


def make_masks(root):
    array = np.zeros((6, 5, 4), np.uint8)
    array[2:5, 1:4, 1:3] = 1
    for name in "ab":
        make_scan(root / "scans" / f"{name}.nii.gz", np.arange(120, dtype=np.int16).reshape(6, 5, 4))
        for place in ("masks", "labels"):
            make_scan(root / place / f"{name}.nii.gz", array)


def written(folder):
    return {path.name for path in folder.rglob("*") if path.is_file() and path.name != ".segfocal.lock"}


def evaluate_once(root, output, many, left):
    if left is not None:
        die_before(left, "replace")
    with claims_recorded():
        evaluate(evaluation_of(root, output, many=many))


@pytest.mark.parametrize(("count", "left"), [(count, n) for count, files in FILES.items() for n in range(len(files))])
def test_after_a_kill_before_any_of_its_files_the_same_evaluation_goes_on(count, left, tmp_path):
    make_masks(tmp_path)
    output, many = tmp_path / "out", count == "many"
    assert run_forked(evaluate_once, tmp_path, output, many, left) == -signal.SIGKILL
    assert run_forked(evaluate_once, tmp_path, output, many, None) == 0
    found = written(output)
    assert {name for name in found if not name.startswith(".")} == FILES[count]
    assert ".segfocal_unfinished.json" not in found


def test_what_another_wrote_meanwhile_is_not_replaced(tmp_path):
    make_masks(tmp_path)
    output = tmp_path / "out"

    def showing(cases, done):
        yield from done
        output.mkdir()
        (output / "summary.csv").write_text("of another")

    with pytest.raises(UserError, match=r"summary\.csv.*overwrite=true"):
        evaluate(evaluation_of(tmp_path, output, many=True), showing=showing)
    assert written(output) == {"summary.csv"}
    assert (output / "summary.csv").read_text() == "of another"


def test_a_picture_of_the_user_is_kept_also_after_a_kill(tmp_path):
    make_masks(tmp_path)
    output = tmp_path / "out"
    (output / "overlays").mkdir(parents=True)
    (output / "overlays" / "mine.png").write_bytes(b"mine")
    (output / ".segfocal_unfinished.json").write_text('["overlays", "summary.csv"]')
    with pytest.raises(UserError, match=r"mine\.png.*overwrite=true"):
        evaluate(evaluation_of(tmp_path, output, many=True))
