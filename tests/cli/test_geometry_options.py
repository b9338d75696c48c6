"""A spacing and window left to the data become numbers at the door, for every kind of data, model and command."""

import json
import shutil

import numpy as np
import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from segfocal.cli.app import conf_folder, register_resolvers
from segfocal.cli.geometry_options import with_geometry
from segfocal.cli.settling import settle
from segfocal.errors import UserError
from tests.fingerprint.test_geometry import HUGE, THICK, make_box_case
from tests.pictures import make_png
from tests.scans import make_sphere_cases
from tests.system.commands import segfocal


def chosen(*overrides, command="train", resumes=None):
    """Return spacing, window and the model's image_size."""
    register_resolvers()
    with initialize_config_dir(version_base="1.3", config_dir=str(conf_folder())):
        config = compose(command, overrides=["data=folder", "target=1", *overrides])
    settle(config, command, overrides)
    plain = OmegaConf.to_container(with_geometry(config, resumes=resumes), resolve=True)
    return plain["data"]["spacing_mm"], plain["data"]["window"], plain.get("model", {}).get("image_size")


@pytest.fixture(scope="module")
def thick(tmp_path_factory):
    root = tmp_path_factory.mktemp("thick")
    for name in "ab":
        make_box_case(root, name, **THICK)
    return root


def test_a_square_model_gets_the_longer_side_and_a_unet_both(thick, capsys):
    assert chosen(f"data.root={thick}") == ([2.07, 2.07], [48, 48], 48)
    said = "pixels of 2.07 mm, windows of 48×48: the median component of label_1 is 12 mm across"
    assert capsys.readouterr().out == f"{said}; data.spacing_mm=, data.window= choose others\n"
    assert chosen(f"data.root={thick}", "experiment=unet") == ([2.07, 2.07], [32, 48], None)
    wide = "model.widths=[8,8,8,8,8,8,8]"  # six halvings
    assert chosen(f"data.root={thick}", "experiment=unet", wide)[1] == [64, 64]


@pytest.mark.parametrize(
    ("given", "spacing", "window"),
    [
        (["data.window=[64,64]"], [2.07, 2.07], [64, 64]),
        (["data.spacing_mm=[1,1]"], [1, 1], [96, 96]),
        (["data.spacing_mm=4"], 4, [32, 32]),
        (["data.spacing_mm=null"], None, [96, 96]),  # the scans' own pixels
        (["data.spacing_mm=1.5", "data.window=256"], 1.5, 256),
        (["data.size=[64,64]"], None, [64, 64]),
        (["model.image_size=128"], [1.0, 1.0], [128, 128]),  # no finer than the scans
        (["model=lite_medsam"], [1.0, 1.0], [256, 256]),
        (["model=medsam"], [1.0, 1.0], [1024, 1024]),
        (["experiment=unet_3d"], [3.0, 3.0, 3.0], [16, 96, 96]),
        (["data.fold=1", "data.folds=2"], [2.07, 2.07], [48, 48]),
    ],
)
def test_what_is_given_stays_and_the_rest_follows(given, spacing, window, thick):
    assert chosen(f"data.root={thick}", *given)[:2] == (spacing, window)


def test_a_model_of_a_fixed_window_sees_pixels_that_fill_it(tmp_path):
    make_box_case(tmp_path, "a", **HUGE)  # 600 mm over 256 pixels
    assert chosen(f"data.root={tmp_path}", "model=lite_medsam")[0] == [2.34, 2.34]


def test_explicit_values_of_the_demo_and_of_sam_med2d_stay(tmp_path):
    assert chosen("data=demo", "target=liver") == ([3.0, 3.0], [128, 128], 128)
    assert chosen("data=sam_med2d", f"data.root={tmp_path}")[:2] == (None, [256, 256])


def test_pictures_keep_their_pixels_and_a_window_holds_the_median_one(tmp_path, capsys):
    for name, shape in {"a": (40, 100), "b": (50, 90)}.items():
        make_png(tmp_path / "images" / f"{name}.png", np.zeros(shape, np.uint8))
        make_png(tmp_path / "labels" / f"{name}.png", np.eye(*shape, dtype=np.uint8))
    assert chosen(f"data.root={tmp_path}", "experiment=unet")[:2] == (None, [48, 96])
    assert "pixels as they are, windows of 48×96: pictures have no spacing" in capsys.readouterr().out


def test_a_target_without_a_voxel_falls_back_with_a_word(tmp_path, capsys):
    make_box_case(tmp_path, "a", shape=(8, 9, 6), spacing=(1.0, 1.0, 1.0), box=None)
    assert chosen(f"data.root={tmp_path}") == ([1.5, 1.5], [256, 256], 256)
    assert "no voxel of the target in 1 labels" in capsys.readouterr().out


def test_cases_to_test_on_have_no_say(tmp_path):
    listed = make_sphere_cases(tmp_path, 3, splits=["train", "val", "test"])
    with_test = chosen("data=csv", f"data.root={listed}")
    listed.write_text("\n".join(line for line in listed.read_text().splitlines() if "test" not in line))
    assert chosen("data=csv", f"data.root={listed}") == with_test


def layouts(thick, root):
    """Make the folder `thick` over as nnU-Net has it, and as MSD has it."""
    for kind, ending in {"nnunet": "_0000", "msd": ""}.items():
        for part, there in {"imagesTr": "images", "labelsTr": "labels"}.items():
            (root / kind / part).mkdir(parents=True)
            for name in "ab":
                end = ending if there == "images" else ""
                shutil.copy(thick / there / f"{name}.nii.gz", root / kind / part / f"{name}{end}.nii.gz")
    facts = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "box": 1}, "numTraining": 2}
    (root / "nnunet" / "dataset.json").write_text(json.dumps({**facts, "file_ending": ".nii.gz"}))
    pairs = [{"image": f"./imagesTr/{n}.nii.gz", "label": f"./labelsTr/{n}.nii.gz"} for n in "ab"]
    msd = {"modality": {"0": "CT"}, "labels": {"0": "background", "1": "box"}, "training": pairs}
    (root / "msd" / "dataset.json").write_text(json.dumps(msd))
    (root / "cases.csv").write_text(
        "image,label\n" + "".join(f"{thick}/images/{n}.nii.gz,{thick}/labels/{n}.nii.gz\n" for n in "ab")
    )
    return [
        ["data=csv", f"data.root={root / 'cases.csv'}"],
        *[[f"data.root={root / kind}"] for kind in ("nnunet", "msd")],
    ]


def test_every_layout_gives_the_same_numbers(thick, tmp_path):
    for options in layouts(thick, tmp_path):
        assert chosen(*options) == ([2.07, 2.07], [48, 48], 48)
    for command in ("cross_validate", "prepare", "show_augment", "evaluate_prompts", "auto"):
        more = ["output=x"] if command in ("cross_validate", "auto") else []
        more += ["model=sam_tiny"] if command == "evaluate_prompts" else []
        assert chosen(f"data.root={thick}", *more, command=command)[:2] == ([2.07, 2.07], [48, 48])


def test_a_run_to_go_on_with_keeps_its_numbers(thick, tmp_path):
    old = {"data": {"spacing_mm": [1.5, 1.5], "window": [256, 256]}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(old))
    assert chosen(f"data.root={thick}", resumes=tmp_path) == ([1.5, 1.5], [256, 256], 256)
    assert chosen(f"data.root={thick}", resumes=tmp_path / "none") == ([2.07, 2.07], [48, 48], 48)


@pytest.mark.parametrize("option", ["data.window=Auto", "data.spacing_mm=automatic"])
def test_another_word_is_refused_in_one_line(option, thick):
    with pytest.raises(UserError, match="to be auto or"):
        chosen(f"data.root={thick}", option)


def test_trained_numbers_stand_in_config_and_bundle_and_a_rerun_resumes(thick, tmp_path, monkeypatch, capfd):
    tiny = ["model.width=48", "model.depth=1", "model.decoder_width=32", "intensity=percentiles", "data.hold_out=0"]
    run = [f"hydra.run.dir={tmp_path / 'run'}", f"cache={tmp_path / 'prepared'}", "train.steps=2", "target=1"]
    options = ["data=folder", f"data.root={thick}", *tiny, *run]
    assert segfocal(monkeypatch, "train", *options) == 0
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    bundle = json.loads((tmp_path / "run" / "bundle" / "bundle.json").read_text())
    assert (config["data"]["spacing_mm"], config["data"]["window"]) == ([2.07, 2.07], [48, 48])
    assert (bundle["spacing_mm"], bundle["window"], config["model"]["image_size"]) == ([2.07, 2.07], [48, 48], 48)
    weights = f"model.weights={tmp_path / 'run' / 'bundle'}"
    assert chosen(f"data.root={thick}", weights, "data.frame=SPL")[:2] == ([2.07, 2.07], [48, 48])
    capfd.readouterr()
    assert segfocal(monkeypatch, "train", *options, "resume=auto") == 0
    assert "finished before" in capfd.readouterr().out


def test_a_folder_that_is_not_there_is_told_in_one_line(tmp_path, monkeypatch, capfd):
    assert (
        segfocal(monkeypatch, "train", "data=folder", f"data.root={tmp_path / 'none'}", f"hydra.run.dir={tmp_path}")
        == 1
    )
    assert capfd.readouterr().err.count("error:") == 1
