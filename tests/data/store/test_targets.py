"""Targets: unions, structures that overlap, voxels to ignore, from the choice to the batch a task sees."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from segfocal.batch import SampleKey
from segfocal.data.case import Case, CaseList, Mask, Meaning
from segfocal.data.ignore_label import ignored_in, without_ignored
from segfocal.data.label_scheme import choose_masks
from segfocal.data.sampling.dataset import Sampling, SliceDataset, collate
from segfocal.data.store.prepare import prepare, read_pair
from segfocal.data.store.prepared_case import Preparation
from segfocal.data.store.targets import IGNORED, Coding
from segfocal.data.structures import choose_structures
from segfocal.errors import UserError
from segfocal.grid import Volume
from segfocal.intensity import Percentiles
from segfocal.resample import ModelGrid
from segfocal.structure import Structure
from tests.scans import make_scan

NAMES = {"liver": 5, "kidney_right": 2, "kidney_left": 3, "spleen": 1}
SHAPE = (9, 11, 5)


def structure(name, value, **more):
    return Structure(name=name, value=value, **more)


@pytest.mark.parametrize("parts", [[2, 3], ["kidney_right", "kidney_left"], ["2", "kidney_left"]])
def test_a_union_gets_a_name_and_a_value_of_its_own(parts):
    assert choose_structures({"kidneys": parts}, NAMES) == (structure("kidneys", 1, of=(2, 3)),)


def test_with_a_union_all_targets_are_numbered():
    expected = (structure("liver", 1, of=(5,)), structure("kidneys", 2, of=(2, 3)))
    assert choose_structures(["liver", {"kidneys": [2, 3]}], NAMES) == expected
    assert choose_structures({"liver": 5, "kidneys": [2, 3]}, NAMES) == expected


def test_unions_that_share_a_label_value_overlap():
    chosen = choose_structures([{"kidneys": [2, 3]}, "kidney_left", "liver"], NAMES)
    assert chosen == (
        structure("kidneys", 1, of=(2, 3), overlaps=True),
        structure("kidney_left", 2, of=(3,), overlaps=True),
        structure("liver", 4, of=(5,), overlaps=True),
    )
    assert choose_structures(["liver", "spleen"], NAMES, overlap=True)[1] == structure(
        "spleen", 2, of=(1,), overlaps=True
    )
    assert choose_structures("liver", NAMES, overlap=True) == (structure("liver", 5),)


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ({"kidneys": []}, "to make up kidneys"),
        ({"kidneys": [2, "kidney_right"]}, "to make up kidneys"),
        ({"kidneys": ["heart"]}, "found target=heart"),
        ([{"a": [2, 3]}, {"b": [3, 2]}], "one or more different structures"),
        ([{"liver": [2, 3]}, "liver"], "found liver twice"),
        (list(range(1, 17)), "at most 15 structures that may overlap; found 16"),
    ],
)
def test_a_union_that_means_nothing_is_told(target, told):
    with pytest.raises(UserError, match=told):
        choose_structures(target, NAMES, overlap=True)


@pytest.fixture
def scan(tmp_path):
    """A case whose label map holds blocks of the values 1, 2, 3, 5 and 9, and the array."""
    array = np.zeros(SHAPE, np.uint8)
    array[:3, :4], array[:3, 5:8], array[4:6, :4], array[4:6, 5:8], array[7:, :] = 1, 2, 3, 5, 9
    image = make_scan(tmp_path / "image.nii", np.random.default_rng(0).normal(size=SHAPE).astype(np.float32))
    return Case(name="a", image=image, label=make_scan(tmp_path / "label.nii", array), split="train"), array


def chosen(case, target, *, ignored=None, **options):
    cases = CaseList(cases=(case,), label_values=NAMES, ignored=ignored)
    cases, structures = choose_masks(cases, choose_structures(target, NAMES, **options), apart=False)
    return cases.cases[0], structures


def test_a_label_map_is_read_with_the_values_of_its_unions(scan):
    case, structures = chosen(scan[0], ["liver", {"kidneys": [2, 3]}])
    labels = read_pair(case)[1].array
    assert np.array_equal(labels, np.select([scan[1] == 5, np.isin(scan[1], [2, 3])], [1, 2]))
    assert [s.inside(labels).sum() for s in structures] == [(scan[1] == 5).sum(), np.isin(scan[1], [2, 3]).sum()]


def test_a_target_without_a_union_is_read_as_it_is(scan):
    case, structures = chosen(scan[0], ["liver", "spleen"])
    assert case == scan[0]
    assert case.meaning == Meaning()
    assert structures == (structure("liver", 5), structure("spleen", 1))


def with_masks(tmp_path, scan, arrays):
    masks = [
        Mask(path=make_scan(tmp_path / f"{name}.nii", array.astype(np.uint8)), value=NAMES[name])
        for name, array in arrays.items()
    ]
    return replace(scan[0], masks=tuple(masks))


def test_masks_that_overlap_all_count_where_they_may(tmp_path, scan):
    big, small = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    big[1:8, 1:9], small[5:9, 2:4] = True, True
    case = with_masks(tmp_path, scan, {"liver": big, "spleen": small})
    overlapping, both = chosen(case, ["liver", "spleen"], overlap=True)
    labels = read_pair(overlapping)[1].array
    assert [np.array_equal(s.inside(labels), one) for s, one in zip(both, (big, small), strict=True)] == [True, True]
    exclusive, both = chosen(case, ["liver", "spleen"])
    labels = read_pair(exclusive)[1].array
    assert np.array_equal(both[0].inside(labels), big & ~small)
    assert np.array_equal(both[1].inside(labels), small)
    union, (one,) = chosen(case, {"both": ["liver", "spleen"]})
    assert np.array_equal(one.inside(read_pair(union)[1].array), big | small)


def test_a_mask_to_ignore_lies_above_the_others(tmp_path, scan):
    big, gap = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    big[1:3, 1:3], gap[:8, :9] = True, True
    for target in ("liver", ["liver", "kidney_left"]):
        case, structures = chosen(with_masks(tmp_path, scan, {"liver": big, "spleen": gap}), target, ignored=1)
        labels = read_pair(case)[1].array
        assert np.array_equal(ignored_in(labels, case), gap)
        assert not structures[0].inside(labels).any()


@pytest.mark.parametrize("target", ["liver", ["liver", "spleen"], {"kidneys": [2, 3]}])
def test_what_is_ignored_cannot_be_a_target(scan, target):
    with pytest.raises(UserError, match="to segment or to ignore; found both of"):
        chosen(scan[0], target, ignored=3 if isinstance(target, dict) else 5)


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
    case, structures = chosen(scan[0], target, ignored=ignored, **options)
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
            case, structures = chosen(scan[0], target, ignored=ignored, **options)
            folders.add(prepared(tmp_path, case, structures).folder)
    assert len(folders) == 2 * (len(TARGETS) + 2)


def test_overlapping_structures_are_resized_each_by_itself(tmp_path, scan):
    case, structures = chosen(scan[0], [{"all": [1, 2, 3, 5]}, "liver"])
    ready = prepared(tmp_path, case, structures, size=(6, 5))
    alone, (one,) = chosen(scan[0], {"all": [1, 2, 3, 5]})
    other = prepared(tmp_path, alone, (one,), size=(6, 5))
    for index in range(ready.shape[0]):
        whole = ready.coding.target(ready.slice(index)[1])[0]
        assert np.array_equal(whole, other.coding.target(other.slice(index)[1])[0])


@pytest.mark.parametrize("overlapping", [False, True])
def test_codes_say_inside_ignored_or_neither(overlapping):
    coding = Coding(2, overlapping, ignoring=True)
    codes = np.array([0, coding.code(0), coding.code(1), coding.code(2)], np.uint8)
    assert coding.target(codes).tolist() == [[0, 1, 0, IGNORED], [0, 0, 1, IGNORED]]
    assert coding.ignored(codes).tolist() == [False, False, False, True]
    both = Coding(2, overlapping=True).target(np.array([3], np.uint8))
    assert both.tolist() == [[1], [1]]


def test_ignored_voxels_are_judged_as_background(scan):
    case, _ = chosen(scan[0], "liver", ignored=9)
    labels = read_pair(case)[1]
    wrong = Volume(array=np.where(scan[1] == 9, 5, scan[1]), grid=labels.grid)
    mask, truth = without_ignored(wrong, labels, case)
    assert np.array_equal(mask.array == 5, truth.array == 5)
    assert without_ignored(wrong, labels, scan[0]) == (wrong, labels)


def test_without_an_ignored_label_a_batch_has_no_mask(tmp_path, scan):
    case, structures = chosen(scan[0], "liver", ignored=77)
    dataset = SliceDataset([prepared(tmp_path, case, structures)], 1, Sampling(foreground=0.5, crop=(8, 8)))
    batch = collate([dataset[SampleKey(0, 0, i)] for i in range(4)])
    assert batch.ignored is None
    assert torch.equal(batch.target, batch.target.clamp(max=1))
