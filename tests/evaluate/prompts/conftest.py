"""Two small cases, and no pictures where they are not judged."""

import numpy as np
import pytest

from segfocal.evaluate.prompts import summary as prompt_summary
from tests.evaluate.prompts.clicker import BALL, ROD
from tests.scans import affine_of, make_scan


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """Two cases of 5 slices of 22×20 pixels, a square "ball" and a "rod" in some; the image is bright inside them."""
    root = tmp_path_factory.mktemp("data")
    rows = ["name,image,label,split"]
    for number, name in enumerate(["one", "two"]):
        labels = np.zeros((20, 22, 5), dtype=np.uint8)
        labels[3:9, 4 + number : 11, 1:4] = BALL.value
        if number == 0:
            labels[12:14, 5:12, 2:5] = ROD.value
        affine = affine_of(spacing_mm=(2.0, 2.0, 3.0), axes="LPS")
        image = make_scan(root / f"{name}.nii.gz", (labels > 0) * np.int16(100), affine)
        label = make_scan(root / f"{name}_label.nii.gz", labels, affine)
        rows.append(f"{name},{image},{label},val")
    (root / "cases.csv").write_text("\n".join(rows))
    return root


@pytest.fixture(autouse=True)
def _without_pictures(monkeypatch):
    """Leave the pictures out, which take longer than all the rest."""
    monkeypatch.setattr(prompt_summary, "draw_clicks", lambda *_, **__: None)
