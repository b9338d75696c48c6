"""One scan from disk to disk: what runs beside the network neither hides an error nor leaves anything behind."""

import json
import threading
from dataclasses import replace

import numpy as np
import pytest

from segfocal.errors import UserError
from segfocal.inference import bundle as bundles
from segfocal.io import volumes
from segfocal.predict import outputs
from segfocal.predict import predict as walk
from segfocal.predict.inputs import read_scan, scan_ahead
from segfocal.predict.options import OutputOptions, PredictOptions
from segfocal.predict.predict import predict
from segfocal.predict.structure_sizes import StructureSizes
from tests.random_bundle import image
from tests.scans import AFFINES, make_scan


@pytest.fixture
def options(random_bundle, tmp_path):
    """A scan, a bundle and a place for the mask."""
    scan = make_scan(tmp_path / "in" / "ct.nii.gz", image(2), AFFINES["oblique"])
    outputs = OutputOptions(mask=tmp_path / "out" / "mask.nii.gz")
    return PredictOptions(bundles=(random_bundle,), inputs=(scan,), outputs=outputs)


def left_in(options):
    """Return the names of the files beside the output."""
    return sorted(path.name for path in options.outputs.mask.parent.glob("*"))


def fails_alike(options, match):
    """Predict; an error that says so, and nothing written."""
    with pytest.raises(UserError, match=match) as told:
        predict(options)
    assert left_in(options) == []
    return str(told.value)


def test_a_scan_is_read_while_its_bundle_is_loaded(options, random_bundle, monkeypatch):
    begun, scan = threading.Event(), volumes.read_channels(options.inputs)
    monkeypatch.setattr(volumes, "read_channels", lambda _: begun.set() or scan)
    with scan_ahead(options) as scan_of:
        assert begun.wait(60)
        assert scan_of(bundles.load(random_bundle)) is scan


def test_a_damaged_scan_is_told_as_it_is_without_reading_ahead(options, random_bundle):
    options.scan.write_bytes(options.scan.read_bytes()[:-40])
    with pytest.raises(UserError) as told:
        read_scan(options, bundles.load(random_bundle))
    assert fails_alike(options, "damaged or cut short") == str(told.value)


def test_a_bundle_that_cannot_be_loaded_is_told_before_a_scan_that_cannot_be_read(options, tmp_path):
    options.scan.write_bytes(b"no scan")
    fails_alike(replace(options, bundles=(tmp_path / "none",)), "a bundle: a folder with")


def test_too_few_channels_are_told_before_a_scan_that_cannot_be_read(options, random_bundle):
    options.scan.write_bytes(b"no scan")
    with scan_ahead(options) as scan_of, pytest.raises(UserError, match=r"2 channels.*found 1: ct.nii.gz"):
        scan_of(replace(bundles.load(random_bundle), channels=2))


@pytest.mark.parametrize("error", [UserError(expected="room", found="none", do="make room"), MemoryError("full")])
def test_an_error_of_writing_is_raised_and_nothing_is_left(options, monkeypatch, error):
    def full(*_, **__):
        raise error

    monkeypatch.setattr(outputs.volumes, "write", full)
    with pytest.raises(type(error)) as told:
        predict(options)
    assert told.value is error
    assert left_in(options) == []


@pytest.mark.parametrize("error", [UserError(expected="a window", found="none", do="stop"), KeyboardInterrupt()])
def test_an_error_of_the_network_is_raised_and_nothing_is_left(options, monkeypatch, error):
    def stop(*_, **__):
        raise error

    monkeypatch.setattr(walk, "segment_with", stop)
    threads = threading.active_count()
    with pytest.raises(type(error)) as told:
        predict(options)
    assert told.value is error
    assert left_in(options) == []
    assert threading.active_count() == threads


def test_a_report_is_written_only_after_the_mask_that_it_describes(options, monkeypatch):
    seen, write = [], walk.write_json
    monkeypatch.setattr(walk, "write_json", lambda path, report: seen.append(left_in(options)) or write(path, report))
    report = predict(options)
    assert seen == [["mask.nii.gz"]]
    assert left_in(options) == ["mask.json", "mask.nii.gz"]
    assert json.loads((options.outputs.mask.parent / "mask.json").read_text()) == report


def test_sizes_are_those_of_each_structure_by_itself(options, random_bundle):
    predict(options)
    scan, mask = volumes.read_stored(options.scan), volumes.read_stored(options.outputs.mask)
    structures = bundles.load(random_bundle).structures
    sizes = StructureSizes.of(mask, scan, structures)
    for one in structures:
        inside = scan.array[mask.array == one.value].astype(np.float64)
        assert sizes.voxels[one.name] == inside.size > 0
        assert sizes.mean[one.name] == pytest.approx(inside.mean(), rel=1e-12)
        assert sizes.deviation[one.name] == pytest.approx(inside.std(), rel=1e-9)
