"""Post-processing that training labels ask for."""

import numpy as np
import pytest

from segfocal.data.case import Case
from segfocal.engine.organ_rules import LEAST_MM3, SHARE, organ_rules
from segfocal.inference import bundle as bundles
from segfocal.inference.postprocess import PostprocessRules
from segfocal.structure import Structure
from tests.scans import make_scan
from tests.system.commands import segfocal, small_training

ORGAN = Structure(name="organ", value=5)
RULE = {"organ": PostprocessRules(minimum_share=SHARE)}


def case(folder, *pieces, spacing_mm=10.0, shape=(12, 9, 8), name="x", value=5):
    """Return a case whose label holds boxes of so many voxels along x, [y, z] apart; voxels are of 1 ml."""
    array = np.zeros(shape, np.uint8)
    for row, (length, width) in enumerate(pieces):
        array[:length, 3 * row : 3 * row + 2, :width] = value
    affine = np.diag([spacing_mm] * 3 + [1.0])
    image = make_scan(folder / f"{name}.nii.gz", np.zeros(shape, np.int16), affine)
    label = make_scan(folder / f"{name}_label.nii.gz", array, affine)
    return Case(name=name, image=image, label=label)


def test_an_organ_in_one_piece_gets_the_rule(tmp_path):
    assert organ_rules([case(tmp_path, (10, 8))], [ORGAN]) == RULE  # 10·2·8 voxels, 160 ml


def test_two_large_pieces_are_no_specks_and_stay(tmp_path):
    assert organ_rules([case(tmp_path, (10, 8), (5, 5))], [ORGAN]) == RULE  # the rule leaves 50 of 160 ml alone


@pytest.mark.parametrize("small", [(1, 1), (3, 2)])
def test_a_second_small_piece_in_any_label_forbids_it(small, tmp_path):
    one, other = case(tmp_path, (10, 8), name="one"), case(tmp_path, (10, 8), small, name="other")  # 2 and 12 of 160
    assert organ_rules([one, other], [ORGAN]) == {}


def test_small_targets_never_get_it(tmp_path):
    assert LEAST_MM3 == 50_000
    assert organ_rules([case(tmp_path, (5, 4), spacing_mm=10.0)], [ORGAN]) == {}  # 40 ml
    assert organ_rules([case(tmp_path, (5, 5), spacing_mm=10.0)], [ORGAN]) == RULE  # 50 ml


def test_a_missing_structure_says_nothing_and_a_picture_has_no_volume(tmp_path):
    assert organ_rules([case(tmp_path)], [ORGAN]) == {}
    assert organ_rules([case(tmp_path, name="none"), case(tmp_path, (10, 8))], [ORGAN]) == RULE
    assert organ_rules([case(tmp_path, (300, 1), shape=(400, 9, 1), name="flat")], [ORGAN]) == {}
    assert organ_rules([], [ORGAN]) == {}


def test_it_goes_into_the_bundle_unless_turned_off(tmp_path, monkeypatch):
    listed = tmp_path / "cases.csv"
    case(tmp_path, (10, 8), shape=(32, 32, 8))
    listed.write_text("name,image,label,split\nx,x.nii.gz,x_label.nii.gz,train\n")
    for choice, expected in (("labels", {"label_5": RULE["organ"]}), ("none", {})):
        options = small_training(listed, tmp_path / choice, "target=5", "train.steps=1", f"train.postprocess={choice}")
        assert segfocal(monkeypatch, "train", *options) == 0
        assert bundles.load(tmp_path / choice / "bundle").postprocess == expected
