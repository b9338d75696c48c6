"""Every layout reads one and the same list of cases from the demo scans, laid out its way."""

import json
import os

import nibabel as nib
import numpy as np
import pytest

from segfocal.data.cases import read_cases
from segfocal.data.layouts import LAYOUTS as KNOWN
from segfocal.data.mask_files import with_target
from segfocal.data.store.prepare import read_pair
from segfocal.data.structures import choose_structures
from segfocal.errors import UserError
from tests.pictures import DEMO
from tests.scans import make_scan

STRUCTURES = {"liver": 5, "spleen": 1}


SCANS = ("ct_a", "ct_b")


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """Files of each scan by kind: image, label (liver and spleen with other structures), and a mask a structure."""
    folder = tmp_path_factory.mktemp("parts")
    found = {}
    for scan in SCANS:
        label = nib.load(DEMO / f"{scan}_label.nii.gz")
        array = np.asarray(label.dataobj)
        files = {"image": DEMO / f"{scan}_image.nii.gz", "label": DEMO / f"{scan}_label.nii.gz"}
        for name, value in STRUCTURES.items():
            files[name] = make_scan(folder / f"{scan}_{name}.nii", (array == value).astype(np.uint8), label.affine)
            sure = np.where(array == value, 0.75, 0.25).astype(np.float32)
            sure[:, :, 0] = array[:, :, 0] == value
            files[f"{name}_probability"] = make_scan(folder / f"{scan}_{name}_p.nii", sure, label.affine)
        found[scan] = files | {"true": array}
    return found


def place(source, target):
    """Put a file at a path; a scan that is not compressed keeps its ending."""
    target.parent.mkdir(parents=True, exist_ok=True)
    ending = ".nii.gz" if source.name.endswith(".gz") else ".nii"
    target = target.with_name(target.name.removesuffix(".nii.gz") + ending)
    os.symlink(source, target)
    return target


def two_folders(root, parts, *, images="images", labels="labels", suffix=""):
    for scan, files in parts.items():
        place(files["image"], root / images / f"{scan}{suffix}.nii.gz")
        place(files["label"], root / labels / f"{scan}.nii.gz")
    return root


def folders_with_endings(root, parts):
    for scan, files in parts.items():
        place(files["image"], root / "image" / f"{scan}.nii.gz")
        place(files["label"], root / "masks" / f"{scan}_seg.nii.gz")
    return root


def folders_of_masks(root, parts):
    for scan, files in parts.items():
        place(files["image"], root / "images" / f"{scan}.nii.gz")
        for name in STRUCTURES:
            place(files[name], root / "labels" / f"{scan}_{name}.nii.gz")
    return root


def folders_of_mask_folders(root, parts):
    for scan, files in parts.items():
        place(files["image"], root / "images" / f"{scan}.nii.gz")
        for name in STRUCTURES:
            place(files[name], root / "labels" / scan / f"{name}.nii.gz")
    return root


def msd(root, parts):
    two_folders(root, parts, images="imagesTr", labels="labelsTr")
    listed = [{"image": f"./imagesTr/{s}.nii.gz", "label": f"./labelsTr/{s}.nii.gz"} for s in parts]
    facts = {"labels": {"0": "background", "5": "liver", "1": "spleen"}, "training": listed, "test": ["./x.nii.gz"]}
    (root / "dataset.json").write_text(json.dumps(facts))
    return root


def nnunet_v1(root, parts):
    msd(root, parts)
    for scan in parts:
        (root / "imagesTr" / f"{scan}.nii.gz").rename(root / "imagesTr" / f"{scan}_0000.nii.gz")
    return root


def nnunet_v2(root, parts):
    two_folders(root, parts, images="imagesTr", labels="labelsTr", suffix="_0000")
    place(parts["ct_a"]["image"], root / "imagesTs" / "ct_z_0000.nii.gz")
    facts = {"labels": {"background": 0, "liver": 5, "spleen": 1}, "channel_names": {"0": "CT"}, "numTraining": 2}
    (root / "dataset.json").write_text(json.dumps(facts | {"file_ending": ".nii.gz"}))
    return root


def csv_file(root, parts):
    root.mkdir()
    rows = [f"{scan},{files['image']},{files['label']},p1" for scan, files in parts.items()]
    (root / "list.csv").write_text("\n".join(["name,image,label,patient", *rows]))
    return root / "list.csv"


def csv_of_masks(root, parts):
    root.mkdir()
    rows = [f"{scan},{files['image']},{files['liver']};{files['spleen']}" for scan, files in parts.items()]
    (root / "list.csv").write_text("\n".join(["name,image,label", *rows]))
    return root / "list.csv"


def jsonl(root, parts):
    root.mkdir()
    rows = [{"name": s, "image": str(f["image"]), "label": str(f["label"])} for s, f in parts.items()]
    (root / "list.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    return root / "list.jsonl"


def jsonl_of_masks(root, parts, kind=""):
    root.mkdir()
    rows = [
        {"name": s, "image": [str(f["image"])], "label": {name: str(f[name + kind]) for name in STRUCTURES}}
        for s, f in parts.items()
    ]
    (root / "list.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return root / "list.jsonl"


def jsonl_of_probabilities(root, parts):
    return jsonl_of_masks(root, parts, "_probability")


def total_segmentator(root, parts):
    for scan, files in parts.items():
        place(files["image"], root / scan / "ct.nii.gz")
        for name in STRUCTURES:
            place(files[name], root / scan / "segmentations" / f"{name}.nii.gz")
    (root / "meta.csv").write_text("image_id;split\n")
    return root


def case_folders(root, parts):
    for scan, files in parts.items():
        place(files["image"], root / scan / f"{scan}_t1.nii.gz")
        place(files["label"], root / scan / f"{scan}_seg.nii.gz")
    return root


def bids_dseg(root, parts):
    out = root / "derivatives" / "atlas"
    for scan, files in parts.items():
        subject = f"sub-{scan.replace('_', '')}"
        place(files["image"], root / subject / "anat" / f"{subject}_CT.nii.gz")
        place(files["label"], out / subject / "anat" / f"{subject}_desc-atlas_dseg.nii.gz")
    (out / "dseg.tsv").write_text("index\tname\n0\tbackground\n5\tliver\n1\tspleen\n")
    return out


def bids_masks(root, parts):
    """Beside preprocessed images, in sessions, with a probability map."""
    for scan, files in parts.items():
        subject = f"sub-{scan.replace('_', '')}"
        stem = f"{subject}_ses-1"
        folder = root / subject / "ses-1" / "anat"
        place(files["image"], folder / f"{stem}_desc-preproc_CT.nii.gz")
        place(files["liver"], folder / f"{stem}_label-liver_mask.nii.gz")
        place(files["spleen_probability"], folder / f"{stem}_label-spleen_probseg.nii.gz")
    (root / "dataset_description.json").write_text('{"DatasetType": "derivative"}')
    return root


LAYOUTS = {
    function.__name__: function
    for function in (
        two_folders, folders_with_endings, folders_of_masks, folders_of_mask_folders, msd, nnunet_v1, nnunet_v2,
        csv_file, csv_of_masks, jsonl, jsonl_of_masks, jsonl_of_probabilities, total_segmentator, case_folders,
        bids_dseg, bids_masks,
    )
}  # fmt: skip


WITHOUT_NAMES = ("two_folders", "folders_with_endings", "csv_file", "jsonl", "case_folders")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_source_gives_the_same_cases(tmp_path, parts, layout):
    root = LAYOUTS[layout](tmp_path / "data", parts)
    names = {str(value): name for name, value in STRUCTURES.items()} if layout in WITHOUT_NAMES else None
    cases = read_cases(root, label_names=names)
    chosen, structures = with_target(cases, choose_structures(["liver", "spleen"], cases.label_values), by_object=False)
    assert len(chosen.cases) == 2
    assert [s.name for s in structures] == ["liver", "spleen"]
    for case, (scan, files) in zip(chosen.cases, parts.items(), strict=True):
        assert case.name.replace("sub-", "").removesuffix("_ses-1").replace("_", "") == scan.replace("_", "")
        assert (case.split, case.more) == ("", ())
        assert case.image.resolve() == files["image"].resolve()
        _, labels = read_pair(case)
        for structure in structures:
            assert np.array_equal(structure.inside(labels.array), files["true"] == STRUCTURES[structure.name])


@pytest.mark.parametrize("layout", ["folders_of_masks", "total_segmentator", "jsonl_of_probabilities", "bids_masks"])
def test_a_single_mask_is_read_as_one(tmp_path, parts, layout):
    cases = read_cases(LAYOUTS[layout](tmp_path / "data", {"ct_a": parts["ct_a"]}))
    chosen, (liver,) = with_target(cases, choose_structures("liver", cases.label_values), by_object=False)
    _, labels = read_pair(chosen.cases[0])
    assert liver.value == 1
    assert np.array_equal(labels.array, parts["ct_a"]["true"] == 5)


def test_the_patient_of_a_row_is_its_group(tmp_path, parts):
    assert {case.group for case in read_cases(csv_file(tmp_path / "data", parts)).cases} == {"p1"}


def test_nnunets_ignore_label_is_taken_by_itself(tmp_path, parts):
    root = nnunet_v2(tmp_path / "data", parts)
    labels = {"background": 0, "liver": 5, "whole": [1, 5], "ignore": 61}
    (root / "dataset.json").write_text(json.dumps({"labels": labels, "file_ending": ".nii.gz"}))
    cases = read_cases(root)
    assert cases.ignored == 61
    assert cases.label_values == {"liver": 5}
    assert read_cases(root, ignore=7).ignored == 7
    assert read_cases(root, ignore="liver").ignored == 5


def small(path, value=1):
    return make_scan(path, np.full((3, 4, 5), value, np.uint8))


def test_channels_are_found_by_name_or_number(tmp_path):
    for case in ("x", "y"):
        for channel in ("t2", "flair"):
            small(tmp_path / "named" / "images" / f"{case}_{channel}.nii.gz")
            small(tmp_path / "folders" / case / f"{case}_{channel}.nii.gz")
        small(tmp_path / "named" / "labels" / f"{case}.nii.gz")
        small(tmp_path / "folders" / case / f"{case}_seg.nii.gz")
        for channel in (0, 1):
            small(tmp_path / "numbered" / "images" / f"{case}_000{channel}.nii.gz")
        small(tmp_path / "numbered" / "labels" / f"{case}.nii.gz")
    for root, channels in (("named", ("flair", "t2")), ("numbered", ("0000", "0001")), ("folders", ("flair", "t2"))):
        cases = read_cases(tmp_path / root).cases
        assert [case.name for case in cases] == ["x", "y"]
        for case in cases:
            assert [path.name for path in case.images] == [f"{case.name}_{name}.nii.gz" for name in channels]


@pytest.mark.parametrize("ignore", ["gap", 0, -1])
def test_a_label_to_ignore_that_is_none_is_refused(tmp_path, parts, ignore):
    with pytest.raises(UserError, match=r"data\.ignore to be a label value from 1 or the name"):
        read_cases(msd(tmp_path / "data", parts), ignore=ignore)


def test_every_layout_is_named_where_none_fits(tmp_path):
    with pytest.raises(UserError) as error:
        read_cases(tmp_path)
    assert all(layout.description in str(error.value) for layout in KNOWN)
