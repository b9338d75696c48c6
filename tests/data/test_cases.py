"""Case lists: four layouts of one data set give the same cases, and every mistake in one is told by name."""

import csv
import json
import shutil

import numpy as np
import pytest

from segfocal.data.case import Case, CaseList
from segfocal.data.cases import read_cases
from segfocal.data.store.prepare import read_pair
from segfocal.errors import UserError
from tests.pictures import make_png
from tests.scans import make_sphere_case

NAMES = ("c1", "c2", "c3")


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """Three tiny cases, as {name: (image, label)}; no two files are alike."""
    folder = tmp_path_factory.mktemp("originals")
    return {
        name: make_sphere_case(folder, name, shape=(6, 5, 4), radius_mm=2.0, value=i + 1, seed=i)
        for i, name in enumerate(NAMES)
    }


def as_csv(root, originals):
    rows = [["image", "label", "split"]]
    for name, (image, label) in originals.items():
        (root / name).mkdir(parents=True)
        shutil.copy(image, root / name / f"{name}.nii.gz")
        shutil.copy(label, root / name / "mask.nii.gz")
        rows.append([f"{name}/{name}.nii.gz", f"{name}/mask.nii.gz", ""])
    with (root / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return root / "list.csv"


def as_folders(root, originals, *, images="images", labels="labels", suffix=""):
    (root / images).mkdir(parents=True)
    (root / labels).mkdir()
    for name, (image, label) in originals.items():
        shutil.copy(image, root / images / f"{name}{suffix}.nii.gz")
        shutil.copy(label, root / labels / f"{name}.nii.gz")
    return root


def as_msd(root, originals):
    as_folders(root, originals, images="imagesTr", labels="labelsTr")
    listed = [{"image": f"./imagesTr/{n}.nii.gz", "label": f"./labelsTr/{n}.nii.gz"} for n in originals]
    described = {"labels": {"0": "background", "1": "liver", "2": "tumour"}, "training": listed, "numTraining": 3}
    (root / "dataset.json").write_text(json.dumps(described))
    return root


def as_nnunet(root, originals):
    as_folders(root, originals, images="imagesTr", labels="labelsTr", suffix="_0000")
    described = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "liver": 1, "tumour": 2},
        "numTraining": 3,
        "file_ending": ".nii.gz",
    }
    (root / "dataset.json").write_text(json.dumps(described))
    return root


LAYOUTS = {"csv": as_csv, "folders": as_folders, "msd": as_msd, "nnunet": as_nnunet}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_every_layout_gives_the_same_cases(tmp_path, originals, layout):
    cases = read_cases(layout(tmp_path / "data", originals)).cases
    assert tuple(case.name for case in cases) == NAMES
    for case in cases:
        image, label = originals[case.name]
        assert case.image.read_bytes() == image.read_bytes()
        assert case.label.read_bytes() == label.read_bytes()
        assert case.split == ""


@pytest.mark.parametrize("layout", [as_msd, as_nnunet])
def test_dataset_json_names_the_labels_but_not_the_background(tmp_path, originals, layout):
    assert read_cases(layout(tmp_path / "data", originals)).label_values == {"liver": 1, "tumour": 2}


@pytest.mark.parametrize("layout", [as_csv, as_folders])
def test_other_layouts_know_no_names(tmp_path, originals, layout):
    assert read_cases(layout(tmp_path / "data", originals)).label_values == {}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_given_label_names_take_the_place_of_the_data_sets(tmp_path, originals, layout):
    root = layout(tmp_path / "data", originals)
    names = {"3": "spleen", "7": "kidney"}
    (tmp_path / "flat.json").write_text(json.dumps(names))
    (tmp_path / "nested.json").write_text(json.dumps({"mr": {"1": "brain"}, "ct": names}))
    expected = {"spleen": 3, "kidney": 7}
    assert read_cases(root, label_names={3: "spleen", 7: "kidney"}).label_values == expected
    assert read_cases(root, label_names=str(tmp_path / "flat.json")).label_values == expected
    assert read_cases(root, label_names=f"{tmp_path / 'nested.json'}#ct").label_values == expected


def test_a_csv_may_name_its_cases_and_their_splits(tmp_path, originals):
    (image, label), (image_2, label_2) = list(originals.values())[:2]
    text = f"label,name,image,split\n{label},first,{image},val\n{label_2},second,{image_2},test\n"
    (tmp_path / "list.csv").write_text(text)
    cases = read_cases(tmp_path / "list.csv")
    assert cases.of("val") == [Case(name="first", image=image, label=label, split="val")]
    assert cases.of("test") == [Case(name="second", image=image_2, label=label_2, split="test")]
    assert cases.of("train") == []


def test_a_csv_saved_by_a_spreadsheet_is_read(tmp_path, originals):
    (image, label) = originals["c1"]
    text = f"image,label\r\n{image},{label}\r\n\r\n"
    (tmp_path / "list.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())  # a byte order mark, an empty last line
    assert [case.name for case in read_cases(tmp_path / "list.csv").cases] == ["c1"]


def test_image_and_label_may_differ_in_compression(tmp_path, originals):
    root = as_folders(tmp_path / "data", {"c1": originals["c1"]})
    (root / "labels" / "c1.nii.gz").rename(root / "labels" / "c1.nii")
    assert read_cases(root).cases[0].label.name == "c1.nii"


def test_hidden_files_and_other_kinds_are_no_cases(tmp_path, originals):
    root = as_folders(tmp_path / "data", originals)
    for name in ("._c1.nii.gz", ".DS_Store", "notes.txt"):
        (root / "images" / name).write_bytes(b"")
    assert tuple(case.name for case in read_cases(root).cases) == NAMES


def test_folders_of_pictures_are_cases(tmp_path):
    levels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    for place in ("images", "labels"):
        make_png(tmp_path / place / "p.png", levels)
    (case,) = read_cases(tmp_path).cases
    assert (case.name, case.image.name, case.label) == ("p", "p.png", tmp_path / "labels" / "p.png")
    image, labels = read_pair(case)
    np.testing.assert_array_equal(image.array, labels.array)
    np.testing.assert_array_equal(labels.oriented("SPL").array[0], levels)


def test_pictures_beside_scans_are_no_cases(tmp_path, originals):
    root = as_folders(tmp_path / "data", originals)
    make_png(root / "images" / "c1.png", np.zeros((3, 4), np.uint8))
    assert tuple(case.name for case in read_cases(root).cases) == NAMES


def test_demo_data_is_a_case_list_with_named_labels(request):
    demo = request.config.rootpath / "data" / "demo"
    cases = read_cases(demo / "cases.csv", label_names=f"{demo / 'label_names.json'}#ct")
    assert {case.name for case in cases.cases} >= {"ct_a", "ct_b"}
    assert cases.label_values["liver"] == 5


def listed(*splits):
    cases = [Case(name=f"c{i}", image=f"i{i}", label=f"l{i}", split=split) for i, split in enumerate(splits)]
    return CaseList(cases=tuple(cases), label_values={"liver": 1})


def csv_of(tmp_path, text):
    (tmp_path / "list.csv").write_text(text)
    return tmp_path / "list.csv"


def test_nothing_there_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"nothing there in .*nowhere.*data\.root"):
        read_cases(tmp_path / "nowhere")


def test_an_unknown_layout_is_refused(tmp_path):
    (tmp_path / "images").mkdir()
    with pytest.raises(UserError, match="found none of these in"):
        read_cases(tmp_path)


def test_empty_folders_are_refused(tmp_path):
    as_folders(tmp_path / "data", {})
    with pytest.raises(UserError, match=r"at least one case; found none in .*data"):
        read_cases(tmp_path / "data")


@pytest.mark.parametrize(
    ("layout", "part"),
    [
        (as_csv, "image"),
        (as_csv, "label"),
        (as_msd, "image"),
        (as_msd, "label"),
        (as_folders, "label"),
        (as_nnunet, "label"),
    ],
)  # the last two list the images that are there
def test_a_missing_file_is_refused_with_its_case(tmp_path, originals, layout, part):
    root = layout(tmp_path / "data", originals)
    path = getattr(read_cases(root).cases[1], part)
    path.unlink()
    with pytest.raises(UserError, match=f"the {part} of case c2; found no such file: .*{path.name}"):
        read_cases(root)


def test_a_name_used_twice_is_refused(tmp_path, originals):
    image, label = originals["c1"]
    with pytest.raises(UserError, match=r"one case a name; found c1 twice in .*list\.csv"):
        read_cases(csv_of(tmp_path, f"image,label\n{image},{label}\n{image},{label}\n"))


def test_a_name_that_is_no_file_name_is_refused(tmp_path, originals):
    image, label = originals["c1"]
    with pytest.raises(UserError, match=r"found a/b in .*list\.csv"):
        read_cases(csv_of(tmp_path, f"name,image,label\na/b,{image},{label}\n"))


@pytest.mark.parametrize("word", ["Train", "validation", "trian"])
def test_a_wrong_split_is_refused(tmp_path, originals, word):
    image, label = originals["c1"]
    with pytest.raises(UserError, match=rf"a split of train, val, test; found '{word}' in .*list\.csv"):
        read_cases(csv_of(tmp_path, f"image,label,split\n{image},{label},{word}\n"))


@pytest.mark.parametrize("text", ["", "scan,mask\na,b\n", "image;label\na;b\n", "a.nii.gz,b.nii.gz\n"])
def test_a_csv_without_its_columns_is_refused(tmp_path, text):
    with pytest.raises(UserError, match=r"columns image,label \(and split\); found columns .* in .*list\.csv"):
        read_cases(csv_of(tmp_path, text))


def test_a_csv_of_no_rows_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"at least one case; found none in .*list\.csv"):
        read_cases(csv_of(tmp_path, "image,label\n"))


def test_a_row_without_a_label_is_refused(tmp_path, originals):
    image, _ = originals["c1"]
    with pytest.raises(UserError, match="the label of case c1"):
        read_cases(csv_of(tmp_path, f"image,label\n{image}\n"))


def test_a_scan_in_place_of_a_list_is_refused(originals):
    image, _ = originals["c1"]
    with pytest.raises(UserError, match=r"expected a CSV .*c1\.nii\.gz"):
        read_cases(image)


def test_the_channels_of_a_case_are_read_in_order(tmp_path, originals):
    root = as_nnunet(tmp_path / "data", originals)
    for name in NAMES:
        for channel in (2, 1):
            shutil.copy(root / "imagesTr" / f"{name}_0000.nii.gz", root / "imagesTr" / f"{name}_000{channel}.nii.gz")
    cases = read_cases(root).cases
    assert tuple(case.name for case in cases) == NAMES
    for case in cases:
        assert [path.name for path in case.images] == [f"{case.name}_000{channel}.nii.gz" for channel in range(3)]
        assert case.images == (case.image, *case.more)


def test_a_channel_that_only_one_case_has_is_refused(tmp_path, originals):
    root = as_nnunet(tmp_path / "data", originals)
    shutil.copy(root / "imagesTr" / "c1_0000.nii.gz", root / "imagesTr" / "c1_0001.nii.gz")
    with pytest.raises(UserError, match=r"the channels 0000 of every case, .* found 0000, 0001 of c1 in .*imagesTr"):
        read_cases(root)


@pytest.mark.parametrize("name", ["liver_0000", "liver_0001", "a_0000_b"])
def test_a_case_may_be_numbered_like_a_channel(tmp_path, originals, name):
    root = as_nnunet(tmp_path / "data", {name: originals["c1"]})
    assert [case.name for case in read_cases(root).cases] == [name]


def test_a_broken_dataset_json_is_refused(tmp_path, originals):
    root = as_msd(tmp_path / "data", originals)
    (root / "dataset.json").write_text('{"labels": ')
    with pytest.raises(UserError, match=r"expected JSON; found .* in .*dataset\.json"):
        read_cases(root)


@pytest.mark.parametrize("names", [{"liver": 1}, {"1.5": "liver"}])
def test_label_names_the_wrong_way_round_are_refused(tmp_path, originals, names):
    root = as_folders(tmp_path / "data", originals)
    (tmp_path / "names.json").write_text(json.dumps(names))
    with pytest.raises(UserError, match="structure names by label value"):
        read_cases(root, label_names=names)
    with pytest.raises(UserError, match=r"structure names by label value.* in .*names\.json"):
        read_cases(root, label_names=str(tmp_path / "names.json"))


def test_label_names_that_are_not_there_are_refused(tmp_path, originals):
    root = as_folders(tmp_path / "data", originals)
    (tmp_path / "names.json").write_text('{"ct": {"1": "liver"}}')
    with pytest.raises(UserError, match=r"no such file: .*nowhere\.json"):
        read_cases(root, label_names=str(tmp_path / "nowhere.json"))
    with pytest.raises(UserError, match=r"mr.* in .*names\.json"):
        read_cases(root, label_names=f"{tmp_path / 'names.json'}#mr")


def test_an_nnunet_v1_list_names_images_without_their_channel(tmp_path):
    image, label = make_sphere_case(tmp_path, "la_003")
    for file, folder, name in ((image, "imagesTr", "la_003_0000"), (label, "labelsTr", "la_003")):
        (tmp_path / folder).mkdir()
        file.rename(tmp_path / folder / f"{name}.nii.gz")
    listed = '[{"image": "./imagesTr/la_003.nii.gz", "label": "./labelsTr/la_003.nii.gz"}]'
    (tmp_path / "dataset.json").write_text('{"labels": {"0": "background", "1": "atrium"}, "training": ' + listed + "}")
    cases = read_cases(tmp_path)
    assert [case.image.name for case in cases.cases] == ["la_003_0000.nii.gz"]
    assert cases.label_values == {"atrium": 1}


@pytest.mark.parametrize("text", ["[]", '{"labels": []}', '{"labels": {"1": "a"}, "training": ["a"]}'])
def test_a_dataset_json_of_another_form_is_named(tmp_path, text):
    (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(UserError, match=r"dataset\.json"):
        read_cases(tmp_path)


@pytest.mark.parametrize("names", [{"liver": 1, "spleen": 2}, {"background": 0, "liver": 1}])
def test_names_as_nnunet_2_writes_them_are_told_to_be_turned_round(tmp_path, originals, names):
    root = as_folders(tmp_path / "data", originals)
    (tmp_path / "names.json").write_text(json.dumps({"ct": names}))
    with pytest.raises(UserError, match=r"as \{\d: \w+\}; found \{\w+: \d\}, values by name in .*json. Turn each pair"):
        read_cases(root, label_names=f"{tmp_path / 'names.json'}#ct")


def test_a_byte_order_mark_in_label_names_is_no_part_of_them(tmp_path, originals):
    root = as_folders(tmp_path / "data", originals)
    (tmp_path / "names.json").write_text('{"3": "spleen"}', encoding="utf-8-sig")
    assert read_cases(root, label_names=str(tmp_path / "names.json")).label_values == {"spleen": 3}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_where_all_is_read_nothing_is_passed_over(tmp_path, originals, layout):
    assert read_cases(layout(tmp_path / "data", originals)).passed_over == ()


def test_an_image_that_is_a_link_to_itself_is_missing(tmp_path, originals):
    root = as_csv(tmp_path, originals).parent
    (root / "c1" / "c1.nii.gz").unlink()
    (root / "c1" / "c1.nii.gz").symlink_to("c1.nii.gz")
    with pytest.raises(UserError, match="the image of case c1; found no such file"):
        read_cases(root / "list.csv")
