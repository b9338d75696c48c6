"""Every mistake a user can make ends in exit code ≠ 0 and one message: expected, found, where, what to do."""

import csv
import gzip
import json
import shutil

import nibabel as nib
import numpy as np
import pytest

from tests.scans import AFFINES, make_scan, make_sphere_case
from tests.system.commands import segfocal, small_training

AFFINE = AFFINES["RAS"]


@pytest.fixture
def case(tmp_path):
    """A good scan with its label, and a CSV naming them as the training set."""
    image, label = make_sphere_case(tmp_path / "data", "one", shape=(21, 19, 5))
    (tmp_path / "cases.csv").write_text(f"name,image,label,split\none,{image},{label},train\n")
    return image, label


def fails(capfd, code, *words):
    """Check for one message holding `words`, and nothing like a traceback."""
    error = capfd.readouterr().err
    assert code == 1
    assert error.startswith("error"), error
    assert error.count("\n") == 1, error
    assert "Traceback" not in error
    for word in words:
        assert word in error, error


def train(monkeypatch, tmp_path, *options):
    data = tmp_path / "cases.csv"
    return segfocal(monkeypatch, "train", *small_training(data, tmp_path / "run", "train.steps=1", *options))


def predict(monkeypatch, run, image, output, *options):
    return segfocal(monkeypatch, "predict", f"bundle={run}", f"input={image}", f"output={output}", *options)


def truncated(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def with_nan(path):
    array = np.zeros((21, 19, 5), dtype=np.float32)
    array[3, 4, 2] = np.nan
    make_scan(path, array, AFFINE)


def with_infinity(path):
    array = np.zeros((21, 19, 5), dtype=np.float32)
    array[0, 0, 0] = np.inf
    make_scan(path, array, AFFINE)


def fewer_slices(path):
    make_scan(path, np.zeros((21, 19, 4), dtype=np.int16), AFFINE)


def elsewhere(path):
    moved = AFFINE.copy()
    moved[:3, 3] += 5
    make_scan(path, np.zeros((21, 19, 5), dtype=np.int16), moved)


def series(path):
    make_scan(path, np.zeros((21, 19, 5, 3), dtype=np.int16), AFFINE)


def garbage(path):
    path.write_bytes(b"this is no scan")


def shortened(path):
    """Leave out the last slice's bytes though the header promises it."""
    whole = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(whole[: -21 * 19 * 2]))


SPOILED_IMAGES = [
    (lambda path: path.unlink(), "no such file"),
    (truncated, "damaged or cut short"),
    (garbage, "damaged or cut short"),
    (shortened, "damaged or cut short"),
    (series, "4 axes"),
    (with_nan, "(3, 4, 2)"),
    (with_infinity, "(0, 0, 0)"),
]


@pytest.mark.parametrize(("spoil", "words"), SPOILED_IMAGES)
def test_a_spoiled_training_image_is_named(case, spoil, words, tmp_path, monkeypatch, capfd):
    image, _ = case
    spoil(image)
    fails(capfd, train(monkeypatch, tmp_path), words, str(image))
    assert not (tmp_path / "run" / "bundle").exists()


@pytest.mark.parametrize(("spoil", "words"), SPOILED_IMAGES)
def test_a_spoiled_scan_to_segment_is_named_and_nothing_is_written(
    case, run, spoil, words, tmp_path, monkeypatch, capfd
):
    image, _ = case
    spoil(image)
    capfd.readouterr()
    code = predict(monkeypatch, run / "bundle", image, tmp_path / "out" / "mask.nii.gz")
    fails(capfd, code, words, str(image))
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("spoil", "words"), [(fewer_slices, "(21, 19, 4)"), (elsewhere, "mm apart"), (truncated, "damaged")]
)
def test_a_label_that_does_not_fit_its_image_is_named(case, spoil, words, tmp_path, monkeypatch, capfd):
    _, label = case
    spoil(label)
    fails(capfd, train(monkeypatch, tmp_path), words, str(label))


def test_a_label_value_that_is_not_there_is_named_with_those_that_are(case, tmp_path, monkeypatch, capfd):
    code = train(monkeypatch, tmp_path, "target=7")
    fails(capfd, code, "label value 7", "[0, 1]", "cases.csv")


def test_a_training_set_without_foreground_is_refused(case, tmp_path, monkeypatch, capfd):
    _, label = case
    make_scan(label, np.zeros((21, 19, 5), dtype=np.uint8), AFFINE)
    fails(capfd, train(monkeypatch, tmp_path), "label value 1", "[0]")


def test_an_unknown_structure_name_is_refused(case, tmp_path, monkeypatch, capfd):
    fails(capfd, train(monkeypatch, tmp_path, "target=livr", "data.label_names={1:liver}"), "liver", "target=livr")


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("loss=nonsense", "focal+dice"),
        ("train.stepz=3", "stepz"),
        ("model=nonsense", "sam_tiny"),
        ("train.steps=0", "train.steps ≥ 1"),
        ("train.lr=-1", "train.lr > 0"),
        ("seed=-1", "seed"),
        ("seed=abc", "seed"),
        ("data.frame=XYZ", "frame"),
        ("loss.terms.focal.gamma=-1", "gamma ≥ 0"),
        ("train.steps=many", "many"),
        ("data.root=???", "data.root"),
        ("task=semantic model=sam_tiny loss=sam_med2d", "task=promptable"),
        ("model=unet", "task=semantic"),
        ("target=[1,2]", "task=semantic"),
        ("train.device=tpu9", "device"),
        ("resume=nowhere", "checkpoint"),
        ("data.window=[30,30]", "multiple of 8"),
        ("data.root=.", "none of these"),
        ("data.root=nowhere.csv", "nowhere.csv"),
        ("data.window=[32,64]", "image_size"),
        ("data.spacing_mm=[0,1]", "data.spacing_mm"),
        ("data.spacing_mm=[1,2,3]", "data.spacing_mm"),
        ("data.hold_out=2", "data.hold_out"),
        ("data.margin=0.5", "data.margin"),
        ("data.margin=big", "data.margin to be a number"),
        ("augment.noise=x", "augment.noise"),
        ("augment.scale=1", "augment.scale"),
        ("train.precision=fp16 train.device=cpu", "fp16"),
        ("train.keep=best", "validation cases"),
        ("train.patience=2", "validation cases"),
        ("model._target_=os.system", "os.system"),
        ("model=unet task=semantic data.window=[40,40]", "multiples of 16"),
    ],
)
def test_a_wrong_option_is_explained(case, option, words, tmp_path, monkeypatch, capfd):
    options = option.split()
    if "task=semantic" in option or option == "model=unet":
        monkeypatch.setattr("tests.system.commands.SMALL", ["data.window=[32,32]", "target=1"])
    fails(capfd, train(monkeypatch, tmp_path, *options), words)


@pytest.mark.parametrize("folder", ["cache", "hydra.run.dir"])
def test_a_folder_that_cannot_be_made_is_named(case, folder, tmp_path, monkeypatch, capfd):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    fails(capfd, train(monkeypatch, tmp_path, f"{folder}={blocked}/inside"), str(blocked))


def test_an_existing_mask_is_kept_unless_overwrite(case, run, tmp_path, monkeypatch, capfd):
    mask = tmp_path / "mask.nii.gz"
    mask.write_bytes(b"precious")
    capfd.readouterr()
    fails(capfd, predict(monkeypatch, run / "bundle", case[0], mask), "overwrite=true", str(mask))
    assert mask.read_bytes() == b"precious"
    assert predict(monkeypatch, run / "bundle", case[0], mask, "overwrite=true") == 0
    assert nib.load(mask).shape == (21, 19, 5)


def test_the_report_does_not_replace_a_file_of_the_user(case, run, tmp_path, monkeypatch, capfd):
    boxes = tmp_path / "mask.json"
    boxes.write_text(json.dumps([{"lower": [3, 3, 1], "upper": [9, 9, 3]}]))
    kept = boxes.read_bytes()
    for extra in ([], ["overwrite=true", "prompt=box", f"prompts={boxes}"]):
        capfd.readouterr()
        fails(capfd, predict(monkeypatch, run / "bundle", case[0], tmp_path / "mask.nii.gz", *extra), str(boxes))
        assert boxes.read_bytes() == kept


def test_a_mask_never_replaces_its_scan(case, run, monkeypatch, capfd):
    kept = case[0].read_bytes()
    capfd.readouterr()
    fails(capfd, predict(monkeypatch, run / "bundle", case[0], case[0], "overwrite=true"), "input and output")
    assert case[0].read_bytes() == kept


def test_a_run_is_not_replaced_without_overwrite(case, tmp_path, monkeypatch, capfd):
    assert train(monkeypatch, tmp_path) == 0
    kept = (tmp_path / "run" / "metrics.csv").read_bytes()
    capfd.readouterr()
    fails(capfd, train(monkeypatch, tmp_path, "seed=5"), "overwrite=true")
    assert (tmp_path / "run" / "metrics.csv").read_bytes() == kept
    assert train(monkeypatch, tmp_path, "overwrite=true") == 0


def test_a_run_is_not_resumed_with_other_options(case, tmp_path, monkeypatch, capfd):
    assert train(monkeypatch, tmp_path) == 0
    capfd.readouterr()
    code = train(monkeypatch, tmp_path, f"resume={tmp_path / 'run'}", "seed=5", "train.lr=0.1", "train.steps=3")
    fails(capfd, code, "seed=5 (was 0)", "train.lr=0.1 (was auto)", "config.yaml")


def test_a_damaged_checkpoint_is_named(case, tmp_path, monkeypatch, capfd):
    assert train(monkeypatch, tmp_path) == 0
    for weights in (tmp_path / "run" / "checkpoints").glob("step_*/model.safetensors"):
        truncated(weights)
    capfd.readouterr()
    with pytest.warns(UserWarning, match=r"model.safetensors has changed"):
        code = train(monkeypatch, tmp_path, f"resume={tmp_path / 'run'}", "train.steps=2")
    fails(capfd, code, "damaged ones only")


def test_a_demo_without_a_validation_case_is_refused_before_training(case, tmp_path, monkeypatch, capfd):
    options = small_training(tmp_path / "cases.csv", tmp_path / "run")
    fails(capfd, segfocal(monkeypatch, "demo", *options), "validation case")


def test_an_image_for_the_picture_that_is_missing_is_named(case, tmp_path, monkeypatch, capfd):
    _, label = case
    options = [f"prediction={label}", f"reference={label}", f"output={tmp_path / 'out'}", "image=typo.nii.gz"]
    fails(capfd, segfocal(monkeypatch, "evaluate", *options), "typo.nii.gz")
    assert not (tmp_path / "out" / "metrics.csv").exists()


@pytest.mark.parametrize("word", ["no", "off", "0.0", "perhaps"])
def test_overwrite_is_true_or_false_and_nothing_else(case, run, word, tmp_path, monkeypatch, capfd):
    mask = tmp_path / "mask.nii.gz"
    mask.write_bytes(b"precious")
    capfd.readouterr()
    code = predict(monkeypatch, run / "bundle", case[0], mask, f"overwrite={word}")
    fails(capfd, code, "overwrite")
    assert mask.read_bytes() == b"precious"


def test_a_resume_does_not_replace_another_run(case, tmp_path, monkeypatch, capfd):
    assert train(monkeypatch, tmp_path) == 0
    assert train(monkeypatch, tmp_path, f"hydra.run.dir={tmp_path / 'other'}", "seed=2") == 0
    kept = (tmp_path / "other" / "summary.json").read_bytes()
    options = [f"resume={tmp_path / 'run'}", f"hydra.run.dir={tmp_path / 'other'}", "train.steps=2"]
    capfd.readouterr()
    fails(capfd, train(monkeypatch, tmp_path, *options), "overwrite=true", "other")
    assert (tmp_path / "other" / "summary.json").read_bytes() == kept


def test_a_refused_run_leaves_nothing_behind(case, tmp_path, monkeypatch):
    assert train(monkeypatch, tmp_path, "target=7") == 1
    assert list((tmp_path / "run").iterdir()) == []


def test_an_image_in_the_place_of_a_label_map_is_told(case, tmp_path, monkeypatch, capfd):
    image, label = case
    (tmp_path / "cases.csv").write_text(f"name,image,label,split\none,{label},{image},train\n")
    fails(capfd, train(monkeypatch, tmp_path), "swapped", str(image))
    code = segfocal(monkeypatch, "evaluate", f"prediction={image}", f"reference={label}")
    fails(capfd, code, "as in an image", str(image))


def test_a_scan_in_two_splits_is_told(case, tmp_path, monkeypatch, capfd):
    image, label = case
    rows = f"one,{image},{label},train\ntwo,{image},{label},val\n"
    (tmp_path / "cases.csv").write_text("name,image,label,split\n" + rows)
    fails(capfd, train(monkeypatch, tmp_path), "each scan once", "cases.csv")


def test_no_training_case_is_told(case, tmp_path, monkeypatch, capfd):
    (tmp_path / "cases.csv").write_text(f"name,image,label,split\none,{case[0]},{case[1]},val\n")
    fails(capfd, train(monkeypatch, tmp_path), "split train")


@pytest.mark.parametrize("spacing", [0.001, 500.0])
def test_a_spacing_that_cannot_be_is_told(run, spacing, tmp_path, monkeypatch, capfd):
    scan = make_scan(tmp_path / "scan.nii.gz", np.zeros((40, 40, 3), np.int16), np.diag([spacing, spacing, 1, 1]))
    capfd.readouterr()
    fails(capfd, predict(monkeypatch, run / "bundle", scan, tmp_path / "m.nii.gz"), "header", "mm")


def test_a_folder_in_the_place_of_a_scan_is_told(run, tmp_path, monkeypatch, capfd):
    capfd.readouterr()
    fails(capfd, predict(monkeypatch, run / "bundle", tmp_path, tmp_path / "m.nii.gz"), "a folder (DICOM")


def test_a_path_with_spaces_is_read_when_quoted_twice_and_explained_when_not(case, run, tmp_path, monkeypatch, capfd):
    scan = shutil.copy(case[0], tmp_path / "zwei Wörter (1).nii.gz")
    capfd.readouterr()
    fails(capfd, predict(monkeypatch, run / "bundle", scan, tmp_path / "m.nii.gz"), "two pairs of quotes")
    assert predict(monkeypatch, run / "bundle", f"'{scan}'", tmp_path / "m.nii.gz") == 0


def test_a_scan_one_voxel_wide_can_be_segmented_and_drawn(run, tmp_path, monkeypatch):
    scan = make_scan(tmp_path / "scan.nii.gz", np.zeros((1, 20, 7), dtype=np.int16), AFFINE)
    label = make_scan(tmp_path / "label.nii.gz", np.eye(20, 7, dtype=np.uint8)[None], AFFINE)
    mask = tmp_path / "mask.nii.gz"
    assert predict(monkeypatch, run / "bundle", scan, mask) == 0
    assert segfocal(monkeypatch, "evaluate", f"prediction={mask}", f"reference={label}") == 0


def test_a_foreign_json_beside_a_mask_is_left_alone(case, tmp_path, monkeypatch):
    mask = shutil.copy(case[1], tmp_path / "mask.nii.gz")
    (tmp_path / "mask.json").write_text("[1, 2]")
    assert segfocal(monkeypatch, "evaluate", f"prediction={mask}", f"reference={case[1]}") == 0


@pytest.mark.parametrize("labels", ["liver", "{liver: five}"])
def test_labels_of_another_form_are_told(case, labels, tmp_path, monkeypatch, capfd):
    options = [f"prediction={case[1]}", f"reference={case[1]}", f"output={tmp_path / 'out'}", f"labels={labels}"]
    fails(capfd, segfocal(monkeypatch, "evaluate", *options), "labels={liver: 5}")


def test_a_mask_into_a_blocked_folder_is_refused_before_any_work(case, run, tmp_path, monkeypatch, capfd):
    (tmp_path / "file").write_text("in the way")
    capfd.readouterr()
    fails(
        capfd, predict(monkeypatch, run / "bundle", case[0], tmp_path / "file" / "mask.nii.gz"), str(tmp_path / "file")
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["overlap=high"], "overlap"),
        (["batch_size=1.5"], "batch_size"),
        (["input=null"], "input"),
        (["prompt=box"], "prompts=FILE.json"),
        (["prompt=mouse"], "prompt=none or prompt=box"),
        (["overlap=1"], "overlap"),
        (["boxes=b.json"], "prompt=box"),
        (["prompt=box", "prompts=absent.json"], "absent.json"),
        (["device=cudaa"], "device"),
        (["batch_size=0"], "batch_size"),
    ],
)
def test_a_wrong_prediction_option_is_explained(case, run, options, words, tmp_path, monkeypatch, capfd):
    capfd.readouterr()
    fails(capfd, predict(monkeypatch, run / "bundle", case[0], tmp_path / "mask.nii.gz", *options), words)
    assert not (tmp_path / "mask.nii.gz").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "JSON"),
        ('[{"lower": [0,0,0]}]', "lower"),
        ('[{"lower": [0,0,0], "upper": [50,3,3]}]', "voxels 0 to [20, 18, 4]"),
        ('[{"lower": [5,5,3], "upper": [4,6,3]}]', "lower ≤ upper"),
        ('["box"]', "a prompt with"),
        ("3", "a list of prompts"),
    ],
)
def test_a_wrong_box_file_is_explained(case, run, text, words, tmp_path, monkeypatch, capfd):
    boxes = tmp_path / "boxes.json"
    boxes.write_text(text)
    capfd.readouterr()
    code = predict(monkeypatch, run / "bundle", case[0], tmp_path / "m.nii.gz", "prompt=box", f"prompts={boxes}")
    fails(capfd, code, words, str(boxes))


def spoiled_bundle(run, tmp_path, change=None, weights=None):
    folder = tmp_path / "bundle"
    shutil.copytree(run / "bundle", folder)
    facts = json.loads((folder / "bundle.json").read_text())
    if change:
        change(facts)
    (folder / "bundle.json").write_text(json.dumps(facts))
    if weights is not None:
        (folder / "model.safetensors").write_bytes(weights)
    return folder


@pytest.mark.parametrize(
    ("change", "weights", "words"),
    [
        (lambda f: f.update(format=99), None, "format 99"),
        (lambda f: f["model"].update(_target_="os.system", command="touch pwned"), None, "os.system"),
        (lambda f: f["intensity"].update(_target_="os.system"), None, "os.system"),
        (lambda f: f["model"].update(width=96), None, "model.safetensors"),
        (lambda f: f["model"].update(unknown=1), None, "unknown"),
        (lambda f: f.pop("intensity"), None, "intensity"),
        (None, b"\x00\x01", "model.safetensors"),
    ],
)
def test_a_bundle_that_cannot_be_trusted_is_refused(case, run, change, weights, words, tmp_path, monkeypatch, capfd):
    folder = spoiled_bundle(run, tmp_path, change, weights)
    monkeypatch.chdir(tmp_path)
    capfd.readouterr()
    fails(capfd, predict(monkeypatch, folder, case[0], tmp_path / "m.nii.gz"), words)
    assert not (tmp_path / "pwned").exists()
    assert not (tmp_path / "m.nii.gz").exists()


def test_a_folder_that_is_no_bundle_is_refused(case, run, tmp_path, monkeypatch, capfd):
    capfd.readouterr()
    fails(capfd, predict(monkeypatch, tmp_path, case[0], tmp_path / "m.nii.gz"), "bundle.json", str(tmp_path))


@pytest.mark.parametrize(
    ("spoil", "words"), [(fewer_slices, "(21, 19, 4)"), (elsewhere, "mm apart"), (garbage, "damaged")]
)
def test_masks_that_cannot_be_compared_are_refused(case, spoil, words, tmp_path, monkeypatch, capfd):
    _, label = case
    prediction = tmp_path / "mask.nii.gz"
    shutil.copy(label, prediction)
    spoil(prediction)
    fails(
        capfd, segfocal(monkeypatch, "evaluate", f"prediction={prediction}", f"reference={label}"), words, "mask.nii.gz"
    )
    assert not (tmp_path / "mask_evaluation").exists()


def test_two_empty_masks_without_a_name_are_both_empty(tmp_path, monkeypatch):
    mask = make_scan(tmp_path / "mask.nii.gz", np.zeros((5, 4, 3), dtype=np.uint8), AFFINE)
    assert segfocal(monkeypatch, "evaluate", f"prediction={mask}", f"reference={mask}") == 0
    (row,) = csv.DictReader((tmp_path / "mask_evaluation" / "metrics.csv").open())
    assert row["status"] == "both_empty"


def test_an_unknown_command_lists_the_known_ones(monkeypatch, capfd):
    assert segfocal(monkeypatch, "fly") == 2
    assert "train" in capfd.readouterr().err


def test_debug_shows_the_traceback(case, tmp_path, monkeypatch, capfd):
    assert train(monkeypatch, tmp_path, "target=7", "debug=true") == 1
    assert "Traceback" in capfd.readouterr().err
