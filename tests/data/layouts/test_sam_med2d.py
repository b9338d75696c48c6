"""SAM-Med2D's folders: what their JSON files list is what a run trains on and is judged by, nothing converted."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from segfocal.batch import Origin, SampleKey
from segfocal.data.cases import read_cases
from segfocal.data.layouts.sam_med2d import structure_of
from segfocal.data.mask_files import with_target
from segfocal.data.sampling.dataset import Sampling, collate
from segfocal.data.sampling.object_dataset import dataset_of
from segfocal.data.splits import hold_out
from segfocal.data.store.prepare import check_pairs, prepare, read_pair
from segfocal.data.store.prepared_case import Preparation
from segfocal.data.structures import choose_structures
from segfocal.errors import UserError
from segfocal.inference import bundle as bundles
from segfocal.intensity import Window
from segfocal.predict.options import OutputOptions, PredictOptions
from segfocal.predict.predict import predict
from segfocal.resample import ModelGrid
from segfocal.structure import Structure
from tests.pictures import JUDGED, TRAINED, make_png, make_sam_med2d, rows_of, slice_of
from tests.system.commands import segfocal

SMALL = ["data=sam_med2d", "train.steps=2", "train.batch_size=2", "data.window=[32,32]", "augment=light"]
TINY = ["model.width=48", "model.depth=1", "model.decoder_width=32", "task.first.none=0"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_sam_med2d(tmp_path_factory.mktemp("sam_med2d") / "data_demo")


def drawn_folder(root, masks, *, image=None, split="train"):
    """Write one picture `a` and masks by name, and list them for training or as val."""
    shape = next(iter(masks.values())).shape
    make_png(root / "images" / "a.png", np.zeros(shape, np.uint8) if image is None else image)
    for name, inside in masks.items():
        make_png(root / "masks" / f"a_{name}.png", np.uint8(255) * inside)
    listed = [f"masks/a_{name}.png" for name in masks]
    (root / "image2label_train.json").write_text(json.dumps({"images/a.png": listed}))
    return root


def chosen(root, target, *, by_object=False):
    cases = hold_out(read_cases(root), share=0.0, seed=0)
    return with_target(cases, choose_structures(target, cases.label_values), by_object=by_object)


def samples(root, cache, target, *, foreground=1.0, crop=(100, 128), objects=None, count=30):
    """Return training samples at the pictures' own pixels."""
    cases, structures = chosen(root, target, by_object=objects is not None)
    intensity = Window(lower=0.0, upper=255.0)
    how = Preparation(grid=ModelGrid(), intensity=intensity, structures=structures, by_object=objects is not None)
    sampling = Sampling(foreground=foreground, crop=crop, objects=objects)
    data = dataset_of(prepare(cases.of("train"), how, cache), len(structures), sampling)
    return [data[SampleKey(0, 0, index)] for index in range(count)]


def boxes(h, w, *corners):
    """Return one bool picture [h,w] for each (top, left, bottom, right)."""
    pictures = []
    for top, left, bottom, right in corners:
        inside = np.zeros((h, w), dtype=bool)
        inside[top:bottom, left:right] = True
        pictures.append(inside)
    return pictures


# The lists


def test_both_lists_are_read_into_cases_of_their_split(folder):
    listed = read_cases(folder)
    assert listed.label_values == {"objects": 255, "aorta": 1, "liver": 2, "spleen": 3}
    assert [case.name for case in listed.of("train")] == [f"ct_b_{index}" for index in TRAINED]
    assert [case.name for case in listed.of("val")] == [f"ct_b_{index}" for index in JUDGED]
    for case in listed.cases:
        assert case.image == folder / "images" / f"{case.name}.png"
        names = {mask.path.name: mask.value for mask in case.masks}
        assert names == {f"{case.name}_{n}_000.png": listed.label_values[n] for n in ("liver", "spleen", "aorta")}


@pytest.mark.parametrize("prefix", ["", "data_demo/", "elsewhere/", "./", "images\\..\\"])
def test_paths_may_begin_with_a_folder_or_not(tmp_path, prefix):
    root = make_sam_med2d(tmp_path / "renamed", prefix=prefix, trained=(4,))
    check_pairs(read_cases(root).cases)


@pytest.mark.parametrize(
    ("mask", "structure"),
    [
        ("x_75_liver_000", "liver"),
        ("x_75_liver_0000", "liver"),
        ("x_75_rib_left_9_000", "rib_left_9"),
        ("x_75_vertebrae_T9", "vertebrae_T9"),
        ("x_75--0003_000", "0003"),
        ("x_75_000", None),
        ("x_75", None),
        ("y_75_liver_000", None),
    ],
)
def test_a_structure_is_what_a_masks_name_says_more_than_its_images(mask, structure):
    assert structure_of(Path(mask + ".png"), Path("x_75.png")) == structure


def test_a_val_list_leaves_the_test_list_alone(tmp_path):
    root = make_sam_med2d(tmp_path, trained=(4,), judged=(16,))
    make_png(root / "images" / "v.png", np.zeros((4, 4), np.uint8))
    make_png(root / "masks" / "v_liver_000.png", np.zeros((4, 4), np.uint8))
    (root / "label2image_val.json").write_text('{"masks/v_liver_000.png": "images/v.png"}')
    assert {case.name: case.split for case in read_cases(root).cases} == {
        "ct_b_4": "train",
        "ct_b_16": "test",
        "v": "val",
    }


def test_without_a_list_to_judge_by_images_may_be_held_out(tmp_path):
    root = make_sam_med2d(tmp_path)
    (root / "label2image_test.json").unlink()
    assert len(hold_out(read_cases(root), share=0.25, seed=0).of("val")) == 1


def test_images_of_one_name_are_told_apart_by_their_folder(tmp_path):
    listed = {}
    for place in ("one", "two"):
        image = make_png(tmp_path / place / "1.png", np.zeros((4, 4), np.uint8))
        listed[image.relative_to(tmp_path).as_posix()] = []
    (tmp_path / "image2label_train.json").write_text(json.dumps(listed))
    assert [case.name for case in read_cases(tmp_path).cases] == ["one--1", "two--1"]


# The label


def test_a_label_map_is_the_union_of_a_structures_masks(folder):
    cases, structures = chosen(folder, "liver")
    assert structures == (Structure(name="liver", value=255),)
    for case in cases.cases:
        image, labels = read_pair(case)
        grey, inside = slice_of(int(case.name[5:]))
        np.testing.assert_array_equal(image.oriented("SPL").array[0], grey)
        np.testing.assert_array_equal(labels.oriented("SPL").array[0], 255 * inside["liver"])


def test_where_masks_overlap_the_smaller_object_lies_on_top_and_alone_each_is_whole(tmp_path):
    large, small = boxes(20, 30, (2, 3, 15, 20), (10, 10, 18, 14))
    for order in ({"organ_000": large, "tumour_000": small}, {"tumour_000": small, "organ_000": large}):
        root = drawn_folder(tmp_path / next(iter(order)), order)
        cases, structures = chosen(root, ["organ", "tumour"])
        labels = read_pair(cases.cases[0])[1].oriented("SPL").array[0]
        values = {structure.name: structure.value for structure in structures}
        np.testing.assert_array_equal(labels == values["tumour"], small)
        np.testing.assert_array_equal(labels == values["organ"], large & ~small)
        for name, inside in (("organ", large), ("tumour", small), ("objects", large | small)):
            labels = read_pair(chosen(root, name)[0].cases[0])[1]
            np.testing.assert_array_equal(labels.oriented("SPL").array[0] == 255, inside)


def test_an_image_without_a_mask_of_the_structure_is_background(tmp_path):
    root = drawn_folder(tmp_path, {"liver_000": np.ones((4, 5), dtype=bool), "x_000": np.ones((4, 5), dtype=bool)})
    make_png(root / "images" / "b.png", np.zeros((4, 5), np.uint8))
    listed = json.loads((root / "image2label_train.json").read_text())
    (root / "image2label_train.json").write_text(json.dumps(listed | {"images/b.png": ["masks/a_x_000.png"]}))
    cases = {case.name: case for case in chosen(root, "liver")[0].cases}
    assert read_pair(cases["a"])[1].array.all()
    assert not read_pair(cases["b"])[1].array.any()


# Samples


def test_a_named_structure_is_sampled_from_the_images_that_hold_it(tmp_path):
    root = make_sam_med2d(tmp_path / "data")
    listed = json.loads((root / "image2label_train.json").read_text())
    for image in list(listed)[1:]:
        listed[image] = [mask for mask in listed[image] if "liver" not in mask]
    (root / "image2label_train.json").write_text(json.dumps(listed))
    only = f"ct_b_{TRAINED[0]}"
    assert {origin for *_, origin, _ in samples(root, tmp_path / "cache", "liver")} == {Origin(only, 0)}
    half = samples(root, tmp_path / "cache", "liver", foreground=0.5, count=200)
    held = np.mean([origin.case == only for *_, origin, _ in half])
    assert 0.45 < held < 0.8  # 0.5 + 0.5/4, standard deviation 0.034


def test_objects_are_drawn_whole_and_each_once_before_any_twice(folder, tmp_path):
    for image, target, key, origin, _ in samples(folder, tmp_path, "objects", objects=5):
        assert key.step == 0
        grey, inside = slice_of(int(origin.case[5:]))
        np.testing.assert_allclose(image[0] * 255, grey, atol=0.1)  # kept in half precision
        known = [mask.tobytes() for mask in inside.values()]
        seen = [target[k].numpy().astype(bool).tobytes() for k in range(5)]
        assert set(seen) == set(known)
        assert max(map(seen.count, known)) == 2


def test_overlapping_objects_are_both_drawn_whole(tmp_path):
    large, small = boxes(20, 30, (2, 3, 15, 20), (10, 10, 18, 14))
    root = drawn_folder(tmp_path / "data", {"organ_000": large, "tumour_000": small})
    for _, target, *_ in samples(root, tmp_path / "cache", "objects", objects=2, crop=(20, 30), count=5):
        first, second = (mask.numpy() == 1 for mask in target)
        assert (np.array_equal(first, large) and np.array_equal(second, small)) or (
            np.array_equal(first, small) and np.array_equal(second, large)
        )


def test_only_objects_in_the_crop_are_drawn(tmp_path):
    masks = boxes(40, 60, (0, 0, 5, 5), (30, 50, 38, 58))
    root = drawn_folder(tmp_path / "data", {"a_000": masks[0], "b_000": masks[1]})
    for _, target, *_ in samples(root, tmp_path / "cache", "objects", objects=3, crop=(12, 12)):
        assert target.flatten(1).any(1).all()
        assert target[0].equal(target[1])
    empty = samples(root, tmp_path / "cache", "objects", objects=3, crop=(4, 4), foreground=0.0)
    assert any(not target.any() for _, target, *_ in empty)


def test_object_samples_are_functions_of_their_keys_and_make_a_batch(folder, tmp_path):
    first, again = (samples(folder, tmp_path, "objects", objects=5, count=6) for _ in range(2))
    assert all(a[0].equal(b[0]) and a[1].equal(b[1]) and a[2:] == b[2:] for a, b in zip(first, again, strict=True))
    batch = collate(first)
    assert batch.target.shape == (6, 5, 100, 128)
    assert batch.target.dtype == torch.uint8


def test_held_out_objects_are_cases_of_their_own(folder):
    cases, structures = chosen(folder, "objects", by_object=True)
    assert structures == (Structure(name="objects", value=255),)
    held = cases.of("val")
    assert [case.name for case in held] == [f"ct_b_{JUDGED[0]}_{n}_000" for n in ("liver", "spleen", "aorta")]
    assert [len(case.masks) for case in cases.of("train")] == [3] * len(TRAINED)
    np.testing.assert_array_equal(
        read_pair(held[1])[1].oriented("SPL").array[0] == 255, slice_of(JUDGED[0])[1]["spleen"]
    )


def test_every_image_is_resized_to_one_size_and_its_mask_with_it(folder, tmp_path):
    cases, structures = chosen(folder, "liver")
    grid = ModelGrid(size=(64, 48))
    how = Preparation(grid=grid, intensity=Window(lower=0.0, upper=255.0), structures=structures)
    for case, ready in zip(cases.of("train"), prepare(cases.of("train"), how, tmp_path), strict=True):
        assert ready.shape == (1, 64, 48)
        labels = read_pair(case)[1]
        assert grid.of(labels.grid).spacing_mm == pytest.approx((1.0, 100 / 64, 128 / 48))
        share = (labels.array > 0).mean()
        assert ready.pixels[0, 0] / (64 * 48) == pytest.approx(share, rel=0.1)


# Training and using it


class Threshold(nn.Module):
    """Segments what is brighter than the middle grey."""

    def forward(self, image):
        return image - 0.5


@pytest.mark.parametrize("window", [(32, 32), (256, 256)])
def test_a_predicted_mask_lies_pixel_for_pixel_on_its_picture(tmp_path, monkeypatch, window):
    grey = np.random.default_rng(0).integers(0, 256, (57, 83), dtype=np.uint8)
    bundle = bundles.Bundle(
        model=Threshold(),
        model_config={},
        grid=ModelGrid(),
        window=window,
        intensity=Window(lower=0.0, upper=255.0),
        structures=(Structure(name="bright", value=255),),
        training={},
    )
    monkeypatch.setattr(bundles, "load", lambda folder: bundle)
    image = make_png(tmp_path / "x.png", grey)
    report = predict(
        PredictOptions(
            bundles=(tmp_path,),
            inputs=(image,),
            outputs=OutputOptions(mask=tmp_path / "mask.png"),
            device=torch.device("cpu"),
        )
    )
    np.testing.assert_array_equal(rows_of(tmp_path / "mask.png"), 255 * (grey > 127))
    assert report["pixels"] == {"bright": int((grey > 127).sum())}
    assert json.loads((tmp_path / "mask.json").read_text())["structures"] == {"bright": 255}


def test_a_unet_trains_on_a_named_structure_and_its_masks_are_judged(folder, tmp_path, monkeypatch, capfd):
    run = tmp_path / "run"
    options = [f"data.root={folder}", f"hydra.run.dir={run}", f"cache={tmp_path}/cache", "target=liver"]
    assert segfocal(monkeypatch, "train", *SMALL, *options, "task=semantic", "model=unet", "model.widths=[8,8,8]") == 0
    facts = json.loads((run / "bundle" / "bundle.json").read_text())
    assert facts["intensity"] == {"_target_": "segfocal.intensity.Window", "lower": 0.0, "upper": 255.0}
    assert bundles.load(run / "bundle").grid == ModelGrid(size=(32, 32))
    assert facts["structures"] == [{"name": "liver", "value": 255}]
    image, mask = folder / "images" / f"ct_b_{JUDGED[0]}.png", tmp_path / "mask.png"
    assert segfocal(monkeypatch, "predict", f"bundle={run}/bundle", f"input={image}", f"output={mask}") == 0
    assert rows_of(mask).shape == rows_of(image).shape
    assert set(np.unique(rows_of(mask))) <= {0, 255}
    reference = folder / "masks" / f"ct_b_{JUDGED[0]}_liver_000.png"
    assert segfocal(monkeypatch, "evaluate", f"prediction={mask}", f"reference={reference}") == 0
    summary = json.loads((run / "summary.json").read_text())["scores"]
    rows = (tmp_path / "mask_evaluation" / "metrics.csv").read_text().splitlines()
    assert [score["case"] for score in summary] == [f"ct_b_{JUDGED[0]}"]
    assert float(rows[1].split(",")[3]) == pytest.approx(summary[0]["dice"])
    assert "liver" in capfd.readouterr().out


def test_a_promptable_model_trains_on_objects_and_answers_boxes(folder, tmp_path, monkeypatch, capfd):
    run = tmp_path / "run"
    options = [f"data.root={folder}", f"hydra.run.dir={run}", f"cache={tmp_path}/cache", "target=objects"]
    assert segfocal(monkeypatch, "train", *SMALL, *TINY, *options) == 0
    scores = json.loads((run / "summary.json").read_text())["scores"]
    assert [(score["case"], score["prompt"]) for score in scores] == [
        (f"ct_b_{JUDGED[0]}_{name}_000", "box") for name in ("liver", "spleen", "aorta")
    ]
    image, mask = folder / "images" / f"ct_b_{JUDGED[0]}.png", tmp_path / "mask.png"
    asked = [f"bundle={run}/bundle", f"input={image}", f"output={mask}"]
    (tmp_path / "boxes.json").write_text('[{"lower": [20, 10, 0], "upper": [60, 70, 0]}]')
    assert segfocal(monkeypatch, "predict", *asked, "prompt=box", f"prompts={tmp_path}/boxes.json") == 0
    assert rows_of(mask).shape == rows_of(image).shape
    capfd.readouterr()
    assert segfocal(monkeypatch, "predict", *asked, "overwrite=true") == 1
    assert "expected boxes of objects; found no prompt" in capfd.readouterr().err


# What can be wrong with it


def listing(content, name="image2label_train.json"):
    return lambda root: (root / name).write_text(content if isinstance(content, str) else json.dumps(content))


def both(root):
    train = json.loads((root / "image2label_train.json").read_text())
    image, masks = next(iter(train.items()))
    test = json.loads((root / "label2image_test.json").read_text())
    (root / "label2image_test.json").write_text(json.dumps(test | {masks[0]: image}))


def spoil_mask(**how):
    def spoil(root):
        rows = rows_of(root / "masks" / "ct_b_4_liver_000.png")
        if how["kind"] == "size":
            rows = rows[:90]
        elif how["kind"] == "levels":
            rows = np.where(rows > 0, np.arange(rows.size).reshape(rows.shape) % 200 + 1, 0).astype(np.uint8)
        else:
            rows = rows.astype(np.uint16) * 257
        make_png(root / "masks" / "ct_b_4_liver_000.png", rows)

    return spoil


WRONG = [
    (listing("{oops"), "expected JSON", "image2label_train.json"),
    (listing({}), "found nothing", "image2label_train.json"),
    (listing([]), "found nothing", "image2label_train.json"),
    (listing(["a.png"]), "found a list", "image2label_train.json"),
    (listing({"images/ct_b_4.png": "masks/a.png"}), "{image: [mask, …]}", "images/ct_b_4.png"),
    (listing({"images/ct_b_4.png": [3]}), "{image: [mask, …]}", "[3]"),
    (listing({"masks/a.png": ["b"]}, "label2image_test.json"), "{mask: image}", "label2image_test.json"),
    (listing({"data_demo/images/no.png": []}), "data_demo/images/no.png", "image2label_train.json", "set data.root"),
    (listing({"C:\\data\\x.png": []}), "C:\\data\\x.png", "paths relative to the folder"),
    (listing({"/data/x.png": []}), "file /data/x.png", "paths relative to the folder"),
    (listing({"images/ct_b_4.png": [], "data_demo/images/ct_b_4.png": []}), "ct_b_4 twice"),
    (lambda root: (root / "masks" / "ct_b_4_liver_000.png").unlink(), "ct_b_4_liver_000.png", "no such file"),
    (both, "ct_b_4.png in both image2label_train.json and label2image_test.json", "Take them out"),
    (spoil_mask(kind="size"), "shape (128, 90, 1) against (128, 100, 1)", "ct_b_4_liver_000.png"),
    (spoil_mask(kind="levels"), "one object, 0 and 255", "ct_b_4_liver_000.png"),
    (spoil_mask(kind="16 bits"), "found 16 bits", "ct_b_4_liver_000.png"),
]


@pytest.mark.parametrize(("spoil", "words"), [(spoil, words) for spoil, *words in WRONG])
def test_a_folder_that_cannot_be_used_is_refused_in_one_line(tmp_path, spoil, words):
    root = make_sam_med2d(tmp_path / "data", trained=(4,))
    spoil(root)
    with pytest.raises(UserError) as caught:
        samples(root, tmp_path / "cache", "liver")
    assert all(word in str(caught.value) for word in words), caught.value
    assert "\n" not in str(caught.value)


def test_an_unknown_structure_is_told_which_there_are(folder):
    with pytest.raises(UserError, match="one of objects, aorta, liver, spleen; found target=heart"):
        chosen(folder, "heart")
    with pytest.raises(UserError, match="expected target=objects alone"):
        chosen(folder, ["objects", "liver"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["target=objects", "task.first.none=0.5"], "task.first.none=0 for target=objects"),
        (["target=objects", "data.objects=0"], "data.objects to be a whole number ≥ 1"),
        (["target=liver", "data.spacing_mm=[1,1]"], "no pixel spacing for PNG images"),
        (["target=liver", "data.size=[0,5]"], "data.size to be two numbers > 0"),
    ],
)
def test_options_that_do_not_fit_pictures_are_refused_in_one_line(folder, tmp_path, monkeypatch, capfd, options, words):
    given = [*SMALL, *TINY, f"hydra.run.dir={tmp_path}/run", f"data.root={folder}", *options]
    assert segfocal(monkeypatch, "train", *given) == 1
    error = capfd.readouterr().err
    assert error.startswith("error"), error
    assert error.count("\n") == 1, error
    assert words in error, error


def test_a_size_and_a_spacing_are_one_too_many():
    with pytest.raises(ValueError, match=r"data\.spacing_mm or data\.size; got both"):
        ModelGrid(spacing_mm=(1.0, 1.0), size=(5, 5))


def test_pictures_that_are_not_listed_are_named(tmp_path):
    root = make_sam_med2d(tmp_path)
    assert read_cases(root).passed_over == ()
    (root / "images" / "more.png").touch()
    (root / "masks" / "more.jpg").touch()
    found = {one.path.name: one.reason.value for one in read_cases(root).passed_over}
    assert found == {"more.png": "not_listed", "more.jpg": "other_format"}


def test_a_listed_picture_may_be_written_another_way(tmp_path):
    root = make_sam_med2d(tmp_path)
    image = next((root / "images").glob("*.png"))
    image.rename(image.with_suffix(".PNG"))
    assert len(read_cases(root).cases) == len(list((root / "images").iterdir()))


def test_a_nul_in_a_listed_name_is_one_line(tmp_path):
    (tmp_path / "image2label_train.json").write_text(json.dumps({"a\0.png": ["b.png"]}))
    with pytest.raises(UserError, match=r"paths of PNG files .* in .*image2label_train\.json"):
        read_cases(tmp_path)
