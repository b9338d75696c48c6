"""Label schemes: unions, structures that overlap, voxels to ignore, from the label map to the batch a task sees."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from segfocal.batch import SampleKey
from segfocal.data.label_scheme import IGNORED, LabelScheme
from segfocal.data.sampling.dataset import Sampling, SliceDataset, collate
from segfocal.data.store.cache import files_of
from segfocal.data.store.prepare import prepare, read_pair
from segfocal.data.store.prepared_case import Preparation
from segfocal.grid import Volume
from segfocal.intensity import Percentiles, describe
from segfocal.resample import ModelGrid
from segfocal.structure import Structure
from tests.data.conftest import labelled_for


def test_a_label_map_is_read_with_the_values_of_its_unions(scan):
    case, structures = labelled_for(scan[0], ["liver", {"kidneys": [2, 3]}])
    labels = read_pair(case)[1].array
    assert np.array_equal(labels, np.select([scan[1] == 5, np.isin(scan[1], [2, 3])], [1, 2]))
    assert [s.inside(labels).sum() for s in structures] == [(scan[1] == 5).sum(), np.isin(scan[1], [2, 3]).sum()]


def test_a_target_without_a_union_is_read_as_it_is(scan):
    case, structures = labelled_for(scan[0], ["liver", "spleen"])
    assert case.scheme == LabelScheme(structures=structures)
    assert replace(case, scheme=LabelScheme()) == scan[0]
    assert case.scheme.read(scan[1]) is scan[1]
    assert structures == (Structure(name="liver", value=5), Structure(name="spleen", value=1))


def prepared(tmp_path, case, structures, **grid):
    settings = Preparation(grid=ModelGrid(**grid), intensity=Percentiles(), structures=structures)
    return prepare([case], settings, tmp_path / "cache")[0]


TARGETS = [
    ("liver", {}),
    (["liver", "spleen"], {}),
    (["liver", {"kidneys": [2, 3]}], {}),
    ([{"kidneys": [2, 3]}, "kidney_left", "liver"], {}),
    (["liver", "spleen"], {"overlap": True}),
]


@pytest.mark.parametrize("ignored", [None, 9])
@pytest.mark.parametrize(("target", "options"), TARGETS)
def test_a_batch_has_the_targets_of_the_label_map(tmp_path, scan, target, options, ignored):
    case, structures = labelled_for(scan[0], target, ignored=ignored, **options)
    ready = prepared(tmp_path, case, structures)
    turned = Volume(array=scan[1], grid=read_pair(case)[0].grid).oriented("SPL").array
    assert np.array_equal(ready.pixels, [[np.isin(one, s.label_values).sum() for one in turned] for s in structures])
    dataset = SliceDataset([ready], len(structures), Sampling(foreground=0.5, crop=turned.shape[1:]))
    batch = collate([dataset[SampleKey(0, 0, i)] for i in range(8)])
    assert (batch.ignored is None) == (ignored is None)
    for row, origin in enumerate(batch.origins):
        labels = turned[origin.slice_index]
        for k, one in enumerate(structures):
            assert np.array_equal(batch.target[row, k].numpy(), np.isin(labels, one.label_values))
        if ignored:
            assert np.array_equal(batch.ignored[row, 0].numpy(), labels == 9)


def test_a_changed_meaning_never_reads_stale_slices(tmp_path, scan):
    folders = set()
    for target, options in (*TARGETS, ({"kidneys": [2, 3]}, {}), ({"kidneys": [2, 5]}, {})):
        for ignored in (None, 9):
            case, structures = labelled_for(scan[0], target, ignored=ignored, **options)
            folders.add(prepared(tmp_path, case, structures).folder)
    assert len(folders) == 2 * (len(TARGETS) + 2)


@pytest.mark.parametrize(
    ("target", "ignored", "values", "meaning"),
    [
        ("liver", None, [5], None),
        (["liver", "spleen"], None, [5, 1], None),
        ("liver", 9, [5], {"changed": None, "ignored": 9, "overlapping": False}),
        (
            ["liver", {"kidneys": [2, 3]}],
            None,
            [1, 2],
            {"changed": [[5, 1], [2, 2], [3, 2]], "ignored": None, "overlapping": False},
        ),
        (
            [{"kidneys": [2, 3]}, "kidney_left", "liver"],
            9,
            [1, 2, 4],
            {"changed": [[2, 1], [3, 3], [5, 4], [9, 8]], "ignored": 8, "overlapping": True},
        ),
    ],
)
def test_what_earlier_versions_prepared_is_found(tmp_path, scan, target, ignored, values, meaning):
    case, structures = labelled_for(scan[0], target, ignored=ignored)
    ready = prepared(tmp_path, case, structures)
    signed = {
        "format": 2,
        "files": files_of(case),
        "grid": {"frame": "SPL", "spacing_mm": None, "size": None},
        "intensity": describe(Percentiles()),
        "values": values,
        "crop": "none",
    } | ({"meaning": meaning} if meaning else {})
    signature = hashlib.sha256(json.dumps(signed, sort_keys=True).encode()).hexdigest()[:16]
    assert ready.folder.name == f"a-{signature}"
    stored = json.loads((ready.folder / "case.json").read_text())
    overlapping = bool(meaning and meaning["overlapping"])
    facts = {"structures": len(structures), "overlapping": overlapping, "ignoring": ignored is not None}
    assert stored["coding"] == facts  # which earlier versions read


@pytest.mark.parametrize("overlapping", [False, True])
def test_codes_say_inside_ignored_or_neither(overlapping):
    values = (1, 2)
    structures = tuple(Structure(name=f"s{v}", value=v, of=(v,), overlaps=overlapping) for v in values)
    scheme = LabelScheme(structures=structures, ignored=9)
    codes = np.array([0, scheme.code(0), scheme.code(1), scheme.code(2)], np.uint8)
    assert codes.tolist() == [0, 1, 2, 4 if overlapping else 3]
    assert scheme.target(codes).tolist() == [[0, 1, 0, IGNORED], [0, 0, 1, IGNORED]]
    assert scheme.ignored_codes(codes).tolist() == [False, False, False, True]
    assert scheme.counts(codes).tolist() == [1, 1]
    if overlapping:
        assert LabelScheme(structures=structures).target(np.array([3], np.uint8)).tolist() == [[1], [1]]


def test_many_structures_are_counted_as_few_are():
    structures = tuple(Structure(name=f"s{v}", value=v) for v in range(1, 13))
    codes = np.random.default_rng(0).integers(0, 14, (7, 9)).astype(np.uint8)
    counts = LabelScheme(structures=structures).counts(codes)
    assert counts.tolist() == [(codes == k).sum() for k in range(1, 13)]


def test_overlapping_structures_are_resized_each_by_itself(tmp_path, scan):
    case, structures = labelled_for(scan[0], [{"all": [1, 2, 3, 5]}, "liver"])
    ready = prepared(tmp_path, case, structures, size=(6, 5))
    alone, (one,) = labelled_for(scan[0], {"all": [1, 2, 3, 5]})
    other = prepared(tmp_path, alone, (one,), size=(6, 5))
    for index in range(ready.shape[0]):
        whole = ready.scheme.target(ready.slice(index)[1])[0]
        assert np.array_equal(whole, other.scheme.target(other.slice(index)[1])[0])


def test_without_an_ignored_label_a_batch_has_no_mask(tmp_path, scan):
    case, structures = labelled_for(scan[0], "liver", ignored=77)
    dataset = SliceDataset([prepared(tmp_path, case, structures)], 1, Sampling(foreground=0.5, crop=(8, 8)))
    batch = collate([dataset[SampleKey(0, 0, i)] for i in range(4)])
    assert batch.ignored is None
    assert torch.equal(batch.target, batch.target.clamp(max=1))
