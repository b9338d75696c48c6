"""A bundle and a folder of DICOM slices in; a NIfTI mask or a DICOM segmentation out."""

import json
import shutil

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom")
pytest.importorskip("highdicom")

from segfocal.io import dicom, nifti, volumes  # noqa: E402
from segfocal.io.dicom import labels  # noqa: E402
from segfocal.predict.inputs import find_scans, names_many  # noqa: E402
from tests.dicom import make_series  # noqa: E402
from tests.scans import make_scan  # noqa: E402
from tests.system.commands import segfocal  # noqa: E402

VALUES = {"liver": 5, "spleen": 1}


@pytest.fixture
def series(tmp_path):
    stored = np.random.default_rng(0).integers(850, 1200, (21, 18, 7)).astype(np.int16)
    return make_series(tmp_path / "study" / "series", stored)


def predicted(monkeypatch, *options):
    return segfocal(monkeypatch, "predict", *options, "device=cpu")


def test_mask_of_a_series_is_that_of_its_nifti(random_bundle, series, tmp_path, monkeypatch):
    scan = dicom.read_stored(series)
    same = make_scan(tmp_path / "same.nii.gz", scan.array, scan.grid.affine)
    for given, output in ((series, "a.nii.gz"), (same, "b.nii.gz"), (series, "c.dcm")):
        assert predicted(monkeypatch, f"bundle={random_bundle}", f"input={given}", f"output={tmp_path / output}") == 0
    of_series, of_nifti = (nifti.read_labels(tmp_path / name) for name in ("a.nii.gz", "b.nii.gz"))
    assert set(np.unique(of_series.array)) == {0, 1, 5}
    np.testing.assert_array_equal(of_series.array, of_nifti.array)
    assert of_series.grid.difference(scan.grid) is None
    segmented = volumes.read_labels(tmp_path / "c.dcm", on=scan.grid, values=VALUES)
    np.testing.assert_array_equal(segmented.array, of_series.array)
    assert labels.names(tmp_path / "c.dcm") == ["liver", "spleen"]
    report = json.loads((tmp_path / "c.json").read_text())
    assert report["input"] == str(series)
    assert set(report["components"]) == {"liver", "spleen"}
    assert all(count > 0 for count in report["components"].values())


def test_parts_of_a_segmentation_are_named_after_it(random_bundle, series, tmp_path, monkeypatch):
    options = (f"bundle={random_bundle}", f"input={series}", f"output={tmp_path / 'out' / 'm.dcm'}")
    assert predicted(monkeypatch, *options, "separate=true", "probabilities=true") == 0
    assert {file.name for file in (tmp_path / "out").iterdir()} == {
        *("m.dcm", "m.json", "m_liver.dcm", "m_spleen.dcm"),
        *("m_liver_probability.nii.gz", "m_spleen_probability.nii.gz"),
    }
    grid = dicom.read_grid(series)
    whole = volumes.read_labels(tmp_path / "out" / "m.dcm", on=grid, values=VALUES).array
    own = volumes.read_labels(tmp_path / "out" / "m_spleen.dcm", on=grid, values=VALUES).array
    np.testing.assert_array_equal(own, whole == 1)


def test_dcm_output_of_a_nifti_is_refused_before_any_work(random_bundle, tmp_path, monkeypatch, capsys):
    scan = make_scan(tmp_path / "ct.nii.gz", np.zeros((21, 18, 7), np.int16))
    assert predicted(monkeypatch, f"bundle={random_bundle}", f"input={scan}", f"output={tmp_path / 'm.dcm'}") == 1
    assert "expected a DICOM series as input for an output ending in .dcm; found ct.nii.gz" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ["ct.nii.gz"]


def test_a_folder_of_series_is_many_scans(random_bundle, series, tmp_path, monkeypatch):
    study = series.parent
    make_scan(study / "other" / "ct.nii.gz", np.zeros((21, 18, 7), np.int16))
    shutil.copytree(series, study / "deep" / "second")
    assert not names_many(series)
    assert names_many(study)
    names = [scan.name for scan in find_scans(study)]
    assert names == ["deep/second.nii.gz", "other/ct.nii.gz", "series.nii.gz"]
    options = (f"bundle={random_bundle}", f"input={study}", f"output={tmp_path / 'masks'}")
    assert predicted(monkeypatch, *options) == 0
    first = nifti.read_labels(tmp_path / "masks" / "series.nii.gz")
    np.testing.assert_array_equal(nifti.read_labels(tmp_path / "masks/deep/second.nii.gz").array, first.array)
    written = (tmp_path / "masks/series.nii.gz").stat().st_mtime_ns
    second = sorted((study / "deep" / "second").iterdir())[0]
    second.touch()
    assert predicted(monkeypatch, *options) == 0
    assert (tmp_path / "masks/series.nii.gz").stat().st_mtime_ns == written
    lines = [json.loads(line) for line in (tmp_path / "masks/manifest.jsonl").read_text().splitlines()]
    assert [line["name"] for line in lines if line["state"] == "done"][3:] == ["deep/second.nii.gz"]


def test_one_of_several_series_is_named_by_its_uid(random_bundle, series, tmp_path, monkeypatch, capsys):
    uid = pydicom.dcmread(next(series.iterdir())).SeriesInstanceUID
    for path in make_series(tmp_path / "more").iterdir():
        path.rename(series / f"more_{path.name}")
    assert predicted(monkeypatch, f"bundle={random_bundle}", f"input={series}", f"output={tmp_path / 'a.nii.gz'}") == 1
    assert "expected one DICOM series; found 2" in capsys.readouterr().err
    options = (f"bundle={random_bundle}", f"input={series}@{uid}", f"output={tmp_path / 'a.dcm'}")
    assert predicted(monkeypatch, *options) == 0
    assert pydicom.dcmread(tmp_path / "a.dcm").ReferencedSeriesSequence[0].SeriesInstanceUID == uid
