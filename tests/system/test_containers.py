"""What a container is built from and what it runs, tried without Docker."""

import os
import re
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest

import segfocal
from tests import ROOT
from tests.random_bundle import image
from tests.scans import affine_of, make_scan

OBLIQUE = affine_of(spacing_mm=(1.4, 1.9, 3.0), axes="LPS", degrees=(7.0, -5.0, 11.0))
FILE = (ROOT / "Dockerfile").read_text()


def run_script(name, **places):
    found = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": found, **{key: str(path) for key, path in places.items()}}
    command = [sys.executable, str(ROOT / "docs" / "containers" / name)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_the_image_is_built_of_files_that_are_there_and_named_to_docker():
    sources = [word for line in re.findall(r"^COPY (.*)", FILE, flags=re.M) for word in line.split()[:-1]]
    named = (ROOT / ".dockerignore").read_text().splitlines()
    assert sources
    assert all((ROOT / source).exists() and f"!{source}" in named for source in sources)


def test_the_image_is_given_all_that_the_wheel_takes_in():
    listed = (ROOT / "pyproject.toml").read_text().partition(".force-include]\n")[2].partition("\n[")[0]
    taken = re.findall(r'^"?([\w./]+)"? = "segfocal/', listed, flags=re.M)
    sources = [word for line in re.findall(r"^COPY (.*)", FILE, flags=re.M) for word in line.split()[:-1]]
    assert {"conf", "data/demo/cases.csv"} <= set(taken)
    assert [name for name in taken if not any(f"{name}/".startswith(f"{source}/") for source in sources)] == []
    assert all((ROOT / name).exists() for name in taken)


def test_the_image_runs_the_console_script_with_extras_and_stages_that_there_are():
    project = (ROOT / "pyproject.toml").read_text()
    (entry,) = re.findall(r'^ENTRYPOINT \["(\w+)"\]', FILE, flags=re.M)
    assert f"\n{entry} = " in project
    for extra in {name for found in re.findall(r'"\.\[([\w,]+)\]"', FILE) for name in found.split(",")}:
        assert f"\n{extra} = [" in project
    stages = re.findall(r"^FROM \S+ AS (\w+)", FILE, flags=re.M)
    assert stages == ["base", "cpu", "gpu", "final"]
    assert "FROM ${DEVICE} AS final" in FILE


@pytest.mark.slow
def test_flares_folders_are_filled_and_a_bad_scan_stops_no_other(tmp_path, random_bundle):
    inputs, outputs = tmp_path / "inputs", tmp_path / "outputs"
    for seed in (1, 2):
        make_scan(inputs / f"FLARE_{seed}_0000.nii.gz", image(seed), OBLIQUE)
    (inputs / "FLARE_0_0000.nii.gz").write_bytes(b"no scan")
    done = run_script("flare.py", BUNDLE=random_bundle, INPUTS=inputs, OUTPUTS=outputs)
    assert done.returncode == 1
    assert done.stderr.startswith("error: FLARE_0_0000.nii.gz: expected")
    assert sorted(path.name for path in outputs.iterdir()) == ["FLARE_1.nii.gz", "FLARE_2.nii.gz"]
    expected = segfocal.load(random_bundle).segment(inputs / "FLARE_1_0000.nii.gz")
    found = nib.load(outputs / "FLARE_1.nii.gz")
    np.testing.assert_array_equal(np.asarray(found.dataobj), np.asarray(expected.dataobj))
    np.testing.assert_array_equal(found.affine, expected.affine)


@pytest.mark.slow
def test_grand_challenges_masks_lie_where_those_of_nifti_do(tmp_path, random_bundle):
    sitk = pytest.importorskip("SimpleITK")
    inputs, outputs = tmp_path / "input" / "images", tmp_path / "output" / "images" / "mask"
    scan = make_scan(tmp_path / "ct.nii.gz", image(1), OBLIQUE)
    (inputs / "ct").mkdir(parents=True)
    sitk.WriteImage(sitk.ReadImage(scan), inputs / "ct" / "a1.mha")
    done = run_script("grand_challenge.py", BUNDLE=random_bundle, INPUTS=inputs, OUTPUTS=outputs)
    assert done.returncode == 0, done.stderr
    written = sitk.ReadImage(outputs / "a1.mha")
    np.testing.assert_allclose(written.GetOrigin(), sitk.ReadImage(scan).GetOrigin())
    expected = np.asarray(segfocal.load(random_bundle).segment(scan).dataobj)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(written).T, expected)
