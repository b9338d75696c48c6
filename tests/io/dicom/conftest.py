"""Series that labels belong to."""

import numpy as np
import pytest

from tests.dicom import make_series


@pytest.fixture
def series(tmp_path):
    pytest.importorskip("pydicom")
    return make_series(tmp_path / "series")


@pytest.fixture
def scan(tmp_path):
    """A series of 40×30×5 voxels, and its first slice."""
    pydicom = pytest.importorskip("pydicom")
    series = make_series(tmp_path / "scan", np.zeros((40, 30, 5), np.int16))
    return series, pydicom.dcmread(next(series.iterdir()))
