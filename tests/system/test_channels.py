"""Several slices or several scans as the channels of one image, through the commands: trained, bundled, predicted."""

import nibabel as nib
import numpy as np
import pytest

from segfocal.inference import bundle as bundles
from tests.scans import affine_of, make_sphere_case
from tests.system.commands import segfocal, small_training
from tests.system.test_bad_input import fails

UNET = ["model=unet", "task=semantic", "model.widths=[4,8,8]"]
PROMPT_UNET = ["model=prompt_unet", "model.widths=[8,8,16]"]


def train(monkeypatch, data, folder, *options):
    chosen = {option.partition("=")[0] for option in options}
    unfit = ("model.",) if {"model=unet", "model=prompt_unet"} & set(options) else ()
    small = [o for o in small_training(data, folder) if o.partition("=")[0] not in chosen and not o.startswith(unfit)]
    return segfocal(monkeypatch, "train", *small, "train.steps=2", "augment=light", "train.ema=0", *options)


def predict(monkeypatch, run, image, output, *options):
    return segfocal(monkeypatch, "predict", f"bundle={run}/bundle", f"input={image}", f"output={output}", *options)


@pytest.mark.parametrize("model", [UNET, PROMPT_UNET, []], ids=["unet", "prompt_unet", "sam_tiny"])
def test_neighbouring_slices_are_trained_and_predicted(monkeypatch, tmp_path, spheres, model):
    assert train(monkeypatch, spheres, tmp_path / "run", "data.neighbours=1", *model) == 0
    bundle = bundles.load(tmp_path / "run" / "bundle")
    assert (bundle.neighbours, bundle.inputs, bundle.model_config["channels"]) == (1, 3, 3)
    scan = spheres.parent / "images" / "held.nii.gz"
    assert predict(monkeypatch, tmp_path / "run", scan, tmp_path / "mask.nii.gz") == 0
    assert nib.load(tmp_path / "mask.nii.gz").shape == nib.load(scan).shape


@pytest.mark.parametrize("given", ["-1", "1.5", "true"])
def test_neighbours_are_a_whole_number(monkeypatch, tmp_path, spheres, capfd, given):
    asked = train(monkeypatch, spheres, tmp_path / "run", f"data.neighbours={given}")
    fails(capfd, asked, "data.neighbours", "whole number")


def test_a_model_of_colours_takes_one_neighbour_on_each_side_and_no_more(monkeypatch, tmp_path, spheres, capfd):
    options = [
        f"data.root={spheres}",
        "data=csv",
        "data.window=[32,32]",
        "target=1",
        f"hydra.run.dir={tmp_path / 'run'}",
    ]
    code = segfocal(monkeypatch, "train", "model=lite_medsam", "model.weights=null", "data.neighbours=2", *options)
    fails(capfd, code, "1 or 3 channels", "got 5", "data.neighbours")


@pytest.fixture(scope="module")
def modalities(tmp_path_factory):
    """An nnU-Net folder of three cases with two channels each: a faint ball in noise, and the noise alone."""
    root = tmp_path_factory.mktemp("modalities")
    affine = affine_of(spacing_mm=(2.0, 2.0, 3.0), axes="LPS")
    for seed, name in enumerate(("a", "b", "c")):
        image, label = make_sphere_case(root, name, shape=(35, 31, 5), affine=affine, radius_mm=12.0, seed=seed)
        noise, _ = make_sphere_case(root, "noise", shape=(35, 31, 5), affine=affine, radius_mm=0.0, seed=seed)
        for given, place in ((image, "imagesTr/{}_0000"), (noise, "imagesTr/{}_0001"), (label, "labelsTr/{}")):
            target = root / f"{place.format(name)}.nii.gz"
            target.parent.mkdir(exist_ok=True)
            given.replace(target)
    (root / "dataset.json").write_text(
        '{"labels": {"background": 0, "ball": 1}, "channel_names": {"0": "a", "1": "b"}}'
    )
    return root


@pytest.fixture(scope="module")
def two(modalities, tmp_path_factory):
    """The directory of a run on both channels, each with intensities of its own and one neighbour on each side."""
    folder = tmp_path_factory.mktemp("two") / "run"
    each = "intensity.each=[{_target_:segfocal.intensity.Window,lower:-60,upper:160},percentiles]"
    options = ["data=folder", "target=ball", "intensity=per_channel", each, "data.neighbours=1", *UNET]
    with pytest.MonkeyPatch.context() as monkeypatch:
        assert train(monkeypatch, modalities, folder, *options) == 0
    return folder


def files_of(modalities, name="c"):
    return [modalities / "imagesTr" / f"{name}_000{channel}.nii.gz" for channel in (0, 1)]


def listed(paths):
    return f"[{','.join(map(str, paths))}]"


def test_several_channels_are_trained_and_predicted(monkeypatch, tmp_path, modalities, two):
    bundle = bundles.load(two / "bundle")
    assert (bundle.channels, bundle.neighbours, bundle.inputs, bundle.model_config["channels"]) == (2, 1, 6, 6)
    assert [type(one).__name__ for one in bundle.intensity.each] == ["Window", "Percentiles"]
    assert predict(monkeypatch, two, listed(files_of(modalities)), tmp_path / "mask.nii.gz") == 0
    one = nib.load(tmp_path / "mask.nii.gz")
    assert one.shape == (35, 31, 5)
    assert predict(monkeypatch, two, modalities / "imagesTr", tmp_path / "masks") == 0
    assert sorted(path.name for path in (tmp_path / "masks").glob("*.nii.gz")) == [f"{n}.nii.gz" for n in "abc"]
    np.testing.assert_array_equal(nib.load(tmp_path / "masks" / "c.nii.gz").dataobj, one.dataobj)
    assert list((two / "overlays").glob("*.png"))


def test_a_wrong_number_of_channels_is_one_line(monkeypatch, tmp_path, modalities, two, capfd):
    first, second = files_of(modalities)
    for given in (first, listed([first, second, second])):
        fails(capfd, predict(monkeypatch, two, given, tmp_path / "m.nii.gz"), "2 channels", "found", "input=[")
    assert not list(tmp_path.glob("m*"))


def test_channels_on_different_grids_are_one_line(monkeypatch, tmp_path, modalities, two, capfd):
    first, second = files_of(modalities)
    whole = nib.load(second)
    nib.save(whole.slicer[:, :, 1:], tmp_path / "short.nii.gz")
    code = predict(monkeypatch, two, listed([first, tmp_path / "short.nii.gz"]), tmp_path / "mask.nii.gz")
    fails(capfd, code, "on the grid of c_0000.nii.gz", "short.nii.gz", "(35, 31, 4)")


def test_of_a_folder_a_scan_without_a_channel_fails_alone(monkeypatch, tmp_path, modalities, two, capfd):
    for path in (*files_of(modalities, "a"), files_of(modalities, "b")[1]):
        (tmp_path / "scans" / path.name).parent.mkdir(exist_ok=True)
        (tmp_path / "scans" / path.name).symlink_to(path)
    assert predict(monkeypatch, two, tmp_path / "scans", tmp_path / "masks") == 0
    assert [path.name for path in (tmp_path / "masks").glob("*.nii.gz")] == ["a.nii.gz"]
    assert "b_0001.nii.gz" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("each", "words"),
    [
        ("[percentiles]", ["intensity.each of 2 entries", "got 1"]),
        ("[percentiles,nothing]", ["ct_soft_tissue", "got nothing"]),
        ("[percentiles,{_target_:os.system}]", ["os.system"]),
    ],
)
def test_intensities_of_other_channels_are_one_line(monkeypatch, tmp_path, modalities, capfd, each, words):
    options = ["data=folder", "target=ball", "intensity=per_channel", f"intensity.each={each}", *UNET]
    fails(capfd, train(monkeypatch, modalities, tmp_path / "run", *options), *words)


def test_channels_are_prepared_by_the_names_of_their_intensities(monkeypatch, tmp_path, modalities):
    options = [
        "data=folder",
        f"data.root={modalities}",
        "target=ball",
        "data.spacing_mm=[2,2]",
        f"cache={tmp_path}/cache",
    ]
    each = "intensity.each=[ct_soft_tissue,percentiles]"
    assert segfocal(monkeypatch, "prepare", *options, "intensity=per_channel", each) == 0
    assert len(list((tmp_path / "cache").glob("*/image.b2nd"))) == 2  # of three cases one is held out
