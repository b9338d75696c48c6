"""An evaluation that is killed while it writes: the same one goes on unasked, and nothing else is replaced."""

import os
import subprocess
import sys

import numpy as np
import pytest

from segfocal.errors import UserError
from segfocal.evaluate.evaluate import evaluate
from segfocal.evaluate.options import EvaluationSettings, MaskEvaluation
from tests.scans import make_scan

KILLED = """
import os, signal, sys
from pathlib import Path
from segfocal.evaluate.evaluate import evaluate
from segfocal.files import claims_recorded
from tests.evaluate.test_kill import evaluation_of
root, many, moments = Path(sys.argv[1]), sys.argv[2] == "many", int(sys.argv[3])
real = os.replace
for moment in range(moments):
    codes = []
    for left in (moment, 1000):
        child = os.fork()
        if not child:
            def replace(*places, **options):
                global left
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                left -= 1
                return real(*places, **options)
            os.replace = replace
            with claims_recorded():
                evaluate(evaluation_of(root, root / str(moment), many=many))
            os._exit(0)
        codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    print(*codes)
"""
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


@pytest.mark.parametrize(("count", "moments"), [pytest.param("one", 5, marks=pytest.mark.slow), ("many", 6)])
def test_after_a_kill_before_any_of_its_files_the_same_evaluation_goes_on(count, moments, tmp_path):
    make_masks(tmp_path)
    command = [sys.executable, "-c", KILLED, str(tmp_path), count, str(moments)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=os.environ)
    assert done.stdout.split("\n")[:-1] == ["-9 0"] * moments, done.stderr
    for moment in range(moments):
        found = written(tmp_path / str(moment))
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
