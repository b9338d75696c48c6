"""No command writes over a file that it reads, or unasked over one of the user's, whatever paths it is given."""

from argparse import Namespace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from PIL import Image
from safetensors.torch import save_file

from segfocal.cli import weights_bundle
from segfocal.cli.resume import RunRequest, check_place
from segfocal.cli.weights import convert
from segfocal.compare.page import compare
from segfocal.data.cases import files_read, read_cases
from segfocal.data.store import cache as caches
from segfocal.data.store.prepare import prepare
from segfocal.data.store.prepared_case import Preparation
from segfocal.doctor.diagnose import diagnose
from segfocal.doctor.diagnosis import Examination
from segfocal.engine.record import FILES, FOLDERS
from segfocal.errors import UserError
from segfocal.evaluate.evaluate import evaluate
from segfocal.evaluate.options import EvaluationSettings, MaskEvaluation
from segfocal.export.export import ExportOptions, export
from segfocal.fingerprint.page import check_folder
from segfocal.intensity import Percentiles
from segfocal.models import build
from segfocal.predict.options import OutputOptions, PredictOptions
from segfocal.predict.outputs import check_outputs, files_written
from segfocal.resample import ModelGrid
from segfocal.structure import Structure
from tests.compare.runs import make_run
from tests.export.bundles import UNET, make_bundle
from tests.scans import make_scan
from tests.system.commands import segfocal
from tests.system.situations import bytes_of, check_situation, fill, make_data, plan_of, situations

LIVER = (Structure(name="liver", value=1),)


def run_evaluate(root, output, one):
    label = f"{one.case}_label.nii.gz"
    settings = EvaluationSettings(labels={"liver": 1}, groups=["overlap"])
    files = root / one.images / f"{one.case}.nii.gz", root / one.labels / label
    evaluate(
        MaskEvaluation(
            prediction=files[1], reference=files[1], image=files[0], output=output, settings=settings,
            overwrite=one.overwrite,
        )
    )  # fmt: skip


def run_doctor(root, output, one):
    diagnose(
        Examination(
            root=root / one.listing, label_names=str(root / one.names), output=output, fix=True, workers=1,
            modality="other", overwrite=one.overwrite,
        )
    )  # fmt: skip


def run_fingerprint(root, output, one):
    cases = read_cases(root / one.listing).cases
    check_folder(output, files_read(cases, root / one.listing, str(root / one.names)), overwrite=one.overwrite)
    fill(output, ["fingerprint.json", "fingerprint.html", "shares.png", "experiment/suggested.yaml"])


def run_train(root, output, one):
    check_place(plan_of(root, one), RunRequest(folder=output, overwrite=one.overwrite, automatic=False))
    fill(output, [*FILES, *(f"{name}/{one.case}.nii.gz" for name in FOLDERS)])


def run_prepare(root, output, one):
    preparation = Preparation(grid=ModelGrid(), intensity=Percentiles(), structures=LIVER)
    prepare(read_cases(root / one.listing).cases, preparation, output)
    caches.remove(caches.stale(output))


def run_predict(root, output, one):
    outputs = OutputOptions(
        mask=output / f"{one.case}.nii.gz", separate=True, probabilities=True, overwrite=one.overwrite
    )
    scan = root / one.images / f"{one.case}.nii.gz"
    options = PredictOptions(bundles=(root / "bundle",), inputs=(scan,), outputs=outputs)
    check_outputs(options)
    fill(output, [path.relative_to(output) for path in files_written(options)])


def run_convert(root, output, one):
    save_file({"a": torch.zeros(2)}, root / "w.safetensors")
    kept = (root / "w.safetensors").read_bytes()
    try:
        convert(root / "w.safetensors", output / "w.safetensors", overwrite=one.overwrite)
    finally:
        assert (root / "w.safetensors").read_bytes() == kept


COMMANDS = {
    "convert": run_convert,
    "evaluate": run_evaluate,
    "fingerprint": run_fingerprint,
    "predict": run_predict,
    "prepare": run_prepare,
    "train": run_train,
}
SLOW_COMMANDS = {"doctor": run_doctor}  # which starts a process


@settings(max_examples=60, deadline=None, derandomize=True)
@given(situations(COMMANDS))
def test_no_output_ever_replaces_an_input(one):
    check_situation(one, COMMANDS | SLOW_COMMANDS, reads_scans_alone=("convert", "evaluate", "predict"))


@pytest.mark.slow
@settings(max_examples=1000, deadline=None)
@given(situations(COMMANDS))
def test_no_output_ever_replaces_an_input_in_any_of_many_situations(one):
    check_situation(one, COMMANDS | SLOW_COMMANDS, reads_scans_alone=("convert", "evaluate", "predict"))


@pytest.mark.slow
@settings(max_examples=10, deadline=None, derandomize=True)
@given(situations(SLOW_COMMANDS))
def test_the_doctor_never_replaces_an_original(one):
    check_situation(one, COMMANDS | SLOW_COMMANDS, reads_scans_alone=("convert", "evaluate", "predict"))


def a_case(tmp_path, **names):
    one = SimpleNamespace(
        listing="cases.csv", names="label_names.json", images="images", labels="labels", case="a", overwrite=False
    )
    vars(one).update(names)
    (tmp_path / "data").mkdir()
    make_data(tmp_path / "data", one)
    return one


def test_prune_leaves_folders_of_the_user_that_hold_a_case_json(tmp_path):
    for name in ("patient", f"patient-{'0' * 16}"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "case.json").write_text('{"format": 1}')
        (tmp_path / name / "scan.nii").write_bytes(b"mine")
    assert caches.stale(tmp_path) == []


def test_mended_copies_replace_no_file_of_the_user_unasked(tmp_path):
    one = a_case(tmp_path)
    (tmp_path / "out" / "labels").mkdir(parents=True)
    (tmp_path / "out" / "labels" / "b.nii.gz").write_bytes(b"mine")
    with pytest.raises(UserError, match=r"labels/b\.nii\.gz.*overwrite=true"):
        run_doctor(tmp_path / "data", tmp_path / "out", one)
    assert (tmp_path / "out" / "labels" / "b.nii.gz").read_bytes() == b"mine"
    assert not (tmp_path / "out" / "doctor.json").exists()


@pytest.mark.parametrize("name", ["shares.png", "fingerprint.html", "experiment/suggested.yaml"])
def test_a_fingerprint_replaces_nothing_unasked(tmp_path, name):
    fill(tmp_path, [name])
    with pytest.raises(UserError, match="overwrite=true"):
        check_folder(tmp_path, overwrite=False)


@pytest.mark.parametrize("name", ["results.csv", "settings.csv", "dice.png", "compare.html"])
def test_a_comparison_replaces_nothing_but_a_comparison(tmp_path, name):
    make_run(tmp_path / "runs" / "a", {"x": 0.5}, "seed=1")
    fill(tmp_path / "out", [name])
    with pytest.raises(UserError, match="--overwrite"):
        compare([tmp_path / "runs"], tmp_path / "out")
    assert (tmp_path / "out" / name).read_bytes() == b"written"
    compare([tmp_path / "runs"], tmp_path / "out", overwrite=True)
    compare([tmp_path / "runs"], tmp_path / "out")  # as every multirun does that is gone on with


def test_a_bundle_never_replaces_its_weights(tmp_path):
    folder = tmp_path / "bundle"
    folder.mkdir()
    model = build({"_target_": "segfocal.models.sam_tiny", "image_size": 64})
    save_file(dict(model.state_dict()), folder / "model.safetensors")
    kept = (folder / "model.safetensors").read_bytes()
    asked = Namespace(
        model="sam_tiny", output=folder, structure=["liver:1"], weights=str(folder / "model.safetensors"),
        spacing_mm=1.0, intensity="percentiles", frame="SPL", image_size=64, overwrite=True,
    )  # fmt: skip
    with pytest.raises(UserError, match="input and output"):
        weights_bundle.write(asked)
    assert (folder / "model.safetensors").read_bytes() == kept


@pytest.mark.parametrize(
    ("chosen", "name"), [("onnx", "parity.json"), ("onnx", "model.json"), ("monai_bundle", "LICENSE")]
)
def test_an_export_replaces_nothing_unasked_and_says_so_before_work(tmp_path, chosen, name):
    make_bundle(tmp_path / "bundle", UNET)
    fill(tmp_path / "out", [name])
    options = ExportOptions(
        bundle=tmp_path / "bundle", output=tmp_path / "out", scan=tmp_path / "none.nii.gz", format=chosen
    )
    with pytest.raises(UserError, match="overwrite=true"):  # before the scan is missed
        export(options)


def test_the_report_beside_a_mask_is_an_input(tmp_path):
    mask = make_scan(tmp_path / "metrics.nii.gz", np.ones((4, 4, 3), np.uint8))
    (tmp_path / "metrics.json").write_text('{"segfocal": "1", "structures": {"liver": 1}}')
    kept = (tmp_path / "metrics.json").read_bytes()
    with pytest.raises(UserError, match="input and output"):
        evaluate(MaskEvaluation(prediction=mask, reference=mask, output=tmp_path, overwrite=True))
    assert (tmp_path / "metrics.json").read_bytes() == kept


def test_a_run_in_the_data_folder_leaves_what_lies_there(tmp_path):
    one = a_case(tmp_path, images="overlays")
    for overwrite, words in ((False, "a file in it that is read"), (True, "a file in it that is read")):
        request = RunRequest(folder=tmp_path / "data", overwrite=overwrite, automatic=False)
        with pytest.raises(UserError, match=words):
            check_place(plan_of(tmp_path / "data", one), request)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "summary.json").write_text("mine")
    request = RunRequest(folder=tmp_path / "run", overwrite=False, automatic=True)
    with pytest.raises(UserError, match=r"summary\.json"):
        check_place(plan_of(tmp_path / "data", one), request)


def test_a_picture_of_samples_never_replaces_a_picture_to_train_on(tmp_path, monkeypatch, capfd):
    rng = np.random.default_rng(0)
    for place, high in (("images", 255), ("labels", 2)):
        (tmp_path / place).mkdir()
        Image.fromarray(rng.integers(0, high, (40, 40)).astype(np.uint8)).save(tmp_path / place / "a.png")
    (tmp_path / "cases.csv").write_text("name,image,label,split\na,images/a.png,labels/a.png,train\n")
    kept = bytes_of(tmp_path, (".png", ".csv"))
    options = [
        "data=csv", f"data.root={tmp_path / 'cases.csv'}", "target=1", "intensity=eight_bit", "data.spacing_mm=null",
        "data.window=[32,32]", f"output={tmp_path / 'images' / 'a.png'}", "overwrite=true", f"cache={tmp_path / 'c'}",
    ]  # fmt: skip
    assert segfocal(monkeypatch, "show-augment", *options) == 1
    assert "input and output" in capfd.readouterr().err
    assert {path: content for path, content in bytes_of(tmp_path, (".png", ".csv")).items() if path in kept} == kept
