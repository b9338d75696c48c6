"""Splits: every case once, groups whole, shares alike, the same again, and a file that says so."""

import json
import unicodedata
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segfocal.data.case import Case, CaseList
from segfocal.data.splits import Splitting, deal, grouped, hold_out, split
from segfocal.errors import UserError


def cases_of(groups, split=""):
    return [
        Case(name=f"c{i:02d}", image=f"i{i}", label=f"l{i}", group=group, split=split) for i, group in enumerate(groups)
    ]


def listed(groups):
    return CaseList(cases=tuple(cases_of(groups)), label_values={})


def not_needed(cases):
    raise AssertionError("shares are not needed")


@settings(max_examples=40, deadline=None)
@given(
    groups=st.lists(st.sampled_from(["", "p", "q", "r"]), min_size=4, max_size=30),
    folds=st.integers(2, 4),
    seed=st.integers(0, 5),
    ranked=st.booleans(),
)
def test_folds_are_disjoint_cover_all_and_keep_groups_whole(groups, folds, seed, ranked):
    cases = cases_of(groups)
    units = {case.group or case.name for case in cases}
    shares = [index**2 / 1000 for index in range(len(cases))] if ranked else None
    if len(units) < folds:
        with pytest.raises(ValueError, match="at least"):
            deal(cases, folds, seed=seed, foreground=shares)
        return
    dealt = deal(cases, folds, seed=seed, foreground=shares)
    assert sorted(name for names in dealt for name in names) == [case.name for case in cases]
    fold_of = {name: fold for fold, names in enumerate(dealt) for name in names}
    for group in {"p", "q", "r"}:
        assert len({fold_of[case.name] for case in cases if case.group == group}) <= 1
    assert all(dealt)


def test_folds_are_of_one_size():
    assert sorted(map(len, deal(cases_of([""] * 11), 3, seed=0))) == [3, 4, 4]
    assert sorted(map(len, deal(cases_of(["a", "a", "b", "b", "c", "d", "e", "f"]), 2, seed=1))) == [4, 4]


def test_folds_depend_on_names_and_seed_alone():
    cases = cases_of(["", "p", "p", "", "", "q", "", ""])
    shares = np.linspace(0, 1, 8).tolist()
    draws = [deal(cases, 3, seed=seed, foreground=shares) for seed in range(6)]
    backwards = [deal(cases[::-1], 3, seed=seed, foreground=shares[::-1]) for seed in range(6)]
    assert draws == backwards
    assert len({str(draw) for draw in draws}) > 1


def test_stratified_folds_are_closer_than_random_ones():
    rng = np.random.default_rng(0)
    cases, shares = cases_of([""] * 40), rng.lognormal(-4, 1.5, 40).tolist()
    by_name = {case.name: share for case, share in zip(cases, shares, strict=True)}

    def spread(**options):
        draws = [deal(cases, 4, seed=seed, **options) for seed in range(20)]
        return np.mean([np.std([np.mean([np.log(by_name[n]) for n in fold]) for fold in draw]) for draw in draws])

    assert spread(foreground=shares) < spread() / 2


def test_a_held_out_part_never_shares_a_group():
    held = hold_out(listed(["p", "p", "q", "q", "r", "r", "s", "s", "t", "t"]), share=0.4, seed=3)
    train, val = ({case.group for case in held.of(part)} for part in ("train", "val"))
    assert train | val == set("pqrst")
    assert not train & val
    assert len(held.of("val")) == 4


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_a_stratified_part_has_the_share_asked_for(share):
    cases = listed([""] * 10)
    held = hold_out(cases, share=share, seed=0, foreground=np.linspace(0, 1, 10).tolist())
    assert len(held.of("val")) == round(share * 10)


def test_one_group_alone_is_not_held_out():
    assert not hold_out(listed(["p"] * 4), share=0.5, seed=0).of("val")


def test_a_regular_expression_names_the_groups():
    cases = CaseList(
        cases=tuple(Case(name=n, image=n, label=n) for n in ("p1_scan1", "p1_scan2", "p2_scan1")), label_values={}
    )
    assert [case.group for case in grouped(cases, "(.*)_scan.*").cases] == ["p1", "p1", "p2"]
    assert grouped(cases, None) is cases
    with pytest.raises(UserError, match=r"case names that fit data\.group=\(p1\)_\.\* as a whole; found p2_scan1"):
        grouped(cases, "(p1)_.*")
    for wrong in (".*", "(.*)_(.*)"):
        with pytest.raises(UserError, match="one pair of brackets"):
            grouped(cases, wrong)
    with pytest.raises(UserError, match="a regular expression; found"):
        grouped(cases, "(")


def test_folds_are_written_once_and_read_from_then_on(tmp_path):
    file, cases = tmp_path / "sub" / "splits.json", listed([""] * 10)
    first = [split(cases, Splitting(folds=5), fold=k, file=file, foreground=not_needed) for k in range(5)]
    written = file.read_text()
    again = [split(cases, Splitting(folds=5, seed=9), fold=k, file=file, foreground=not_needed) for k in range(5)]
    assert file.read_text() == written
    assert first == again
    validated = sorted(case.name for part in first for case in part.of("val"))
    assert validated == [case.name for case in cases.cases]
    assert all(len(part.of("train")) == 8 and len(part.of("val")) == 2 for part in first)
    assert first[1] == split(cases, Splitting(), fold=1, file=file, foreground=not_needed)  # the file knows how many


def test_a_held_out_part_may_be_written_too(tmp_path):
    file, cases = tmp_path / "splits.json", listed([""] * 10)
    drawn = split(cases, Splitting(hold_out=0.3, seed=4), fold=0, file=file, foreground=not_needed)
    assert drawn == hold_out(cases, share=0.3, seed=4)
    assert drawn == split(cases, Splitting(hold_out=0.5), fold=0, file=file, foreground=not_needed)
    assert drawn == split(cases, Splitting(hold_out=0.3, seed=4), fold=0, file=None, foreground=not_needed)


def test_nnunets_splits_are_read(tmp_path):
    file = tmp_path / "splits_final.json"
    file.write_text(json.dumps([{"train": ["c00"], "val": ["c01"]}, {"train": ["c01"], "val": ["c00"]}]))
    second = split(listed(["", ""]), Splitting(), fold=1, file=file, foreground=not_needed)
    assert [case.split for case in second.cases] == ["val", "train"]


def test_test_cases_stay_out_of_the_folds(tmp_path):
    cases = CaseList(cases=(*cases_of([""] * 4), Case(name="t", image="t", label="t", split="test")), label_values={})
    for fold in range(2):
        part = split(cases, Splitting(folds=2), fold=fold, file=tmp_path / "splits.json", foreground=not_needed)
        assert [case.name for case in part.of("test")] == ["t"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ([{"train": ["c00"], "val": ["c01", "gone"]}], "gone that the data does not have"),
        ([{"train": ["c00"], "val": []}], "no part for c01"),
        ([{"train": ["c00", "c01"], "val": ["c01"]}], "c01 in both train and val"),
        ([], r"folds as \[\{"),
        ({"folds": [{"train": "c00", "val": []}]}, r"folds as \[\{"),
    ],
)
def test_a_file_of_other_cases_is_refused(tmp_path, content, told):
    file = tmp_path / "splits.json"
    file.write_text(json.dumps(content))
    with pytest.raises(UserError, match=rf"{told}.*splits\.json"):
        split(listed(["", ""]), Splitting(), fold=0, file=file, foreground=not_needed)


def test_another_number_of_folds_or_no_such_fold_is_refused(tmp_path):
    file, cases = tmp_path / "splits.json", listed([""] * 6)
    split(cases, Splitting(folds=3), fold=0, file=file, foreground=not_needed)
    with pytest.raises(UserError, match=r"expected 5 folds; found 3 in .*splits\.json"):
        split(cases, Splitting(folds=5), fold=0, file=file, foreground=not_needed)
    with pytest.raises(UserError, match=r"data\.fold from 0 to 2; found 3"):
        split(cases, Splitting(folds=3), fold=3, file=file, foreground=not_needed)
    for wrong in (1, 2.5, True):
        with pytest.raises(ValueError, match=r"data\.folds to be a whole number"):
            Splitting(folds=wrong)


def with_splits(*splits):
    cases = [Case(name=f"c{i}", image=f"i{i}", label=f"l{i}", split=split) for i, split in enumerate(splits)]
    return CaseList(cases=tuple(cases), label_values={"liver": 1})


def test_hold_out_draws_the_share_and_keeps_the_rest():
    held = hold_out(with_splits(*[""] * 10), share=0.3, seed=4)
    assert (len(held.of("val")), len(held.of("train"))) == (3, 7)
    assert [(c.name, c.image, c.label) for c in held.cases] == [(f"c{i}", f"i{i}", f"l{i}") for i in range(10)]
    assert held.label_values == {"liver": 1}


def test_hold_out_depends_on_names_and_seed_alone():
    cases = with_splits(*[""] * 10)
    shuffled = CaseList(cases=cases.cases[::-1], label_values={})
    draws = [{case.name for case in hold_out(cases, share=0.3, seed=seed).of("val")} for seed in range(6)]
    again = [{case.name for case in hold_out(shuffled, share=0.3, seed=seed).of("val")} for seed in range(6)]
    assert draws == again
    assert len({frozenset(draw) for draw in draws}) > 1


def test_hold_out_keeps_the_splits_that_are_given():
    cases = with_splits("train", "val", "test", "train")
    assert hold_out(cases, share=0.5, seed=0).cases == cases.cases


@pytest.mark.parametrize("given", ["val", "test", "train"])
def test_hold_out_gives_every_other_case_a_split_where_some_have_one(given):
    held = hold_out(with_splits(given, *[""] * 5), share=0.4, seed=0)
    assert held.cases[0].split == given
    assert all(case.split in ("train", "val") for case in held.cases[1:])
    assert len(held.of("val")) == (1 if given == "val" else 2)  # a given validation set is not added to


@pytest.mark.parametrize(("count", "share", "val"), [(1, 0.2, 0), (2, 0.2, 1), (3, 0.9, 2), (3, 0.99, 2), (5, 0.0, 0)])
def test_hold_out_always_leaves_a_case_to_train_on(count, share, val):
    held = hold_out(with_splits(*[""] * count), share=share, seed=0)
    assert (len(held.of("val")), len(held.of("train"))) == (val, count - val)


def written(folder, *folds):
    (folder / "splits_final.json").write_text(json.dumps([{"train": train, "val": val} for train, val in folds]))
    return folder / "splits_final.json"


def parted(cases, **asked):
    asked = {"fold": 0, "file": None, "foreground": not_needed, **asked}
    return split(cases, Splitting(hold_out=0.3), **asked)


def test_a_file_that_parts_a_patient_is_refused_by_name(tmp_path):
    cases = listed(["p1", "p1", "p2", "p2"])
    file = written(tmp_path, (["c00", "c02"], ["c01", "c03"]))
    with pytest.raises(UserError, match=r"c00 in train and c01 in val, both of p1, and 1 more groups so in .*final"):
        parted(cases, file=file)
    whole = parted(cases, file=written(tmp_path, (["c00", "c01"], ["c02", "c03"])))
    assert [case.split for case in whole.cases] == ["train", "train", "val", "val"]


def test_a_file_is_judged_by_the_fold_in_use(tmp_path):
    file = written(tmp_path, (["c00", "c02"], ["c01"]), (["c00", "c01"], ["c02"]))
    cases = listed(["p1", "p1", "p2"])
    assert parted(cases, file=file, fold=1).of("val")[0].name == "c02"
    with pytest.raises(UserError, match="both of p1"):
        parted(cases, file=file, fold=0)


@pytest.mark.parametrize("other", ["val", "test", ""])
def test_splits_of_a_list_that_part_a_patient_are_refused(other):
    first, second, third = cases_of(["p1", "p1", "p2"])
    given = [replace(first, split="train"), replace(second, split=other), replace(third, split="val")]
    cases = CaseList(cases=tuple(given), label_values={})
    if other:
        with pytest.raises(UserError, match=f"c00 in train and c01 in {other}, both of p1"):
            parted(cases)
    else:
        assert [case.split for case in parted(cases).cases] == ["train", "train", "val"]


def test_a_patient_of_whom_one_scan_tests_may_not_train_with_another():
    first, second, third = cases_of(["p1", "p1", "p2"])
    cases = CaseList(cases=(replace(first, split="test"), second, third), label_values={})
    with pytest.raises(UserError, match=r"c00 in test and c01 in (train|val), both of p1"):
        parted(cases)


def test_cases_without_a_group_may_lie_anywhere(tmp_path):
    file = written(tmp_path, (["c00", "c02"], ["c01"]))
    assert [case.split for case in parted(listed(["", "", ""]), file=file).cases] == ["train", "val", "train"]


def test_a_file_may_write_accents_the_other_way(tmp_path):
    names = ["é1", unicodedata.normalize("NFD", "é2"), "x"]
    cases = CaseList(cases=tuple(Case(name=name, image=name, label=name) for name in names), label_values={})
    file = written(tmp_path, ([unicodedata.normalize("NFD", "é1"), "x"], ["é2"]))
    assert [case.split for case in parted(cases, file=file).cases] == ["train", "val", "train"]
