"""Evaluations of small masks, and a server that shows them."""

import socket
import threading
from contextlib import contextmanager

import numpy as np
import pytest

from segfocal.evaluate.evaluate import evaluate
from segfocal.evaluate.options import EvaluationSettings, MaskEvaluation
from tests.scans import make_scan
from tests.serve.served import AFFINE, KEY, SHAPE, wedge

LABELS = {"spleen": 1, "liver": 5}


def masks():
    """Return reference and prediction: the liver is missed from slice 5 on, the spleen is one row too wide."""
    reference, bright = np.zeros(SHAPE, np.uint8), wedge() > 0
    reference[bright] = 5
    reference[18:22][bright[18:22]] = 1
    prediction = reference.copy()
    prediction[:, :, 5:][prediction[:, :, 5:] == 5] = 0
    prediction[22, 13:18, 2:6] = 1
    return reference, prediction


def judge(folder, *, image=True, cases=("bad", "good", "gone"), name="judged"):
    """Evaluate cases in a folder: a bad one, one without a fault, and one without a prediction; return the output."""
    reference, prediction = masks()
    for case in cases:
        make_scan(folder / "labels" / f"{case}.nii.gz", reference, AFFINE)
        make_scan(folder / "images" / f"{case}.nii.gz", wedge(), AFFINE)
        if case != "gone":
            own = prediction if case == "bad" else reference
            make_scan(folder / "masks" / f"{case}.nii.gz", own[::-1], AFFINE @ np.diag([-1, 1, 1, 1]) + _shift())
    evaluate(
        MaskEvaluation(
            prediction=folder / "masks",
            reference=folder / "labels",
            image=folder / "images" if image else None,
            output=folder / name,
            settings=EvaluationSettings(labels=LABELS, groups=("overlap",)),
            workers=1,
            pictures=0,
        )
    )
    return folder / name


def _shift():
    """Return what an affine gains where the first axis runs the other way."""
    moved = np.zeros((4, 4))
    moved[:3, 3] = AFFINE[:3, 0] * (SHAPE[0] - 1)
    return moved


@contextmanager
def viewed(results, images=None):
    """Serve evaluations in a thread; yield the address with its key."""
    uvicorn = pytest.importorskip("uvicorn", reason="the extra serve is not installed")
    from segfocal.serve.view.run_view import ViewOptions
    from segfocal.serve.view.view_routes import build_view

    place = socket.create_server(("127.0.0.1", 0))
    options = ViewOptions(results=results, images=images, port=place.getsockname()[1])
    app = build_view(viewing(results, images), options, key=KEY)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [place]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{options.port}/?token={KEY}"
    finally:
        server.should_exit = True
        thread.join(60)
        place.close()


def viewing(results, images=None):
    """Return what answers requests about evaluations."""
    from segfocal.serve.view.run_view import find_evaluations
    from segfocal.serve.view.view_routes import Viewing
    from segfocal.serve.view.viewed_cases import ViewedCases
    from segfocal.serve.worker import Worker

    made = results.parent / "made"
    made.mkdir(exist_ok=True)
    return Viewing(cases=ViewedCases(find_evaluations(results), images), title="judged", made=made, worker=Worker(8))
