"""Every version of the viewers' client: one scripted session each, in a process of its own."""

import os
import subprocess
import sys

import numpy as np
import pytest

from tests import ROOT
from tests.serve.nninteractive.conftest import KEY, SPACING, wedge

VERSIONS = ("2.5.0", "2.5.1", "2.5.2")
SCRIPT = """
import sys
import numpy as np
from nnInteractive.inference.remote import nnInteractiveRemoteInferenceSession
import nnInteractive.inference.remote as package

url, key, place, version = sys.argv[1:]
image = np.load(place)
mask = np.zeros(image.shape, dtype=np.uint8)
with nnInteractiveRemoteInferenceSession(url, api_key=key) as session:
    assert session.ping() and session.supports_undo and session.supported_interactions["points"]
    session.set_image(image[None], {"spacing": SPACING})
    session.set_target_buffer(mask)
    session.add_bbox_interaction([[4, 5], [2, 14], [3, 17]], include_interaction=True)
    boxed = int(mask.sum())
    stroke = np.ones((1, 1, 3), dtype=np.uint8)
    span = [[4, 5], [16, 17], [19, 22]]
    session.add_scribble_interaction(stroke, include_interaction=True, interaction_bbox=span)
    assert mask.sum() > boxed
    assert session.undo() and mask.sum() == boxed
    session.reset_interactions()
    session.add_initial_seg_interaction((image > 0).astype(np.uint8))
    session.add_lasso_interaction(np.ones((1, 12, 14), dtype=bool), include_interaction=True,
                                  interaction_bbox=[[4, 5], [2, 14], [3, 17]])
    assert session.heartbeat() > 0 and session.lease_status()["remaining_seconds"] > 0
print(package.__file__)
print(boxed)
"""


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_a_scripted_session_of_each_version(server, tmp_path, version):
    folder = ROOT / ".venv" / "clients" / version
    if not folder.is_dir():
        pytest.skip(f"nninteractive-client {version} is not in {folder}; .ci/run installs it")
    np.save(tmp_path / "image.npy", wedge())
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])}
    script = SCRIPT.replace("SPACING", repr(SPACING))
    command = [sys.executable, "-c", script, server.url, KEY, str(tmp_path / "image.npy"), version]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    place, boxed = done.stdout.split()
    assert place.startswith(str(folder))
    assert int(boxed) > 100
