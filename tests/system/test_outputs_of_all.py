"""No output of the commands that make, join and judge models replaces an input, nor unasked a file of the user's."""

import contextlib
import io
from argparse import Namespace
from functools import cache
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from omegaconf import OmegaConf
from safetensors.torch import save_file

from segfocal.cli import cross_validate, demo, show_augment, weights_bundle
from segfocal.cli.resume import RunRequest
from segfocal.compare.page import compare
from segfocal.data.cases import files_read, read_cases
from segfocal.errors import UserError
from segfocal.evaluate.prompts.summary import check_results
from segfocal.export.export import ExportOptions, claim_files
from segfocal.inference import bundle as bundles
from segfocal.models import build
from tests.compare.runs import make_run
from tests.random_bundle import make_bundle
from tests.system.situations import check_situation, fill, make_data, plan_of, situations

SAM = {"_target_": "segfocal.models.sam_tiny", "image_size": 64}


@cache
def weights():
    torch.manual_seed(0)
    return dict(build(SAM).state_dict())


def run_export(root, output, one):
    made = make_bundle(root / "bundle")
    kept = {path: path.read_bytes() for path in made.iterdir()}
    scan = root / one.images / f"{one.case}.nii.gz"
    for chosen in ("onnx", "monai_bundle"):
        options = ExportOptions(bundle=made, output=output, scan=scan, format=chosen, overwrite=one.overwrite)
        fill(output, [path.relative_to(output) for path in claim_files(options, bundles.load(made))])
    assert {path: path.read_bytes() for path in kept} == kept


def run_compare(root, output, one):
    make_run(root / "runs" / "a", {"x": 0.5}, "seed=1")
    compare([root / "runs"], output, overwrite=one.overwrite)


def run_weights_bundle(root, output, one):
    source = root / "bundle" / "model.safetensors" if one.images == "bundle" else root / "w.safetensors"
    source.parent.mkdir(exist_ok=True)
    save_file(weights(), source)
    kept = source.read_bytes()
    asked = Namespace(
        model="sam_tiny", output=output / "bundle", structure=["liver:1"], weights=str(source), spacing_mm=1.0,
        intensity="percentiles", frame="SPL", image_size=64, overwrite=one.overwrite,
    )  # fmt: skip
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            weights_bundle.write(asked)
    finally:
        assert source.read_bytes() == kept


def run_show_augment(root, output, one):
    picture = output / f"{one.case}.png"
    data = {"root": str(root / one.listing), "label_names": str(root / one.names)}
    cases = read_cases(root / one.listing)
    for path in (root / one.images).glob("*.nii.gz"):  # a picture that is read by another name
        (root / one.images / f"{path.name.split('.')[0]}.png").hardlink_to(path)
    show_augment.claim_picture(picture, cases, data, overwrite=one.overwrite)
    picture.unlink(missing_ok=True)
    fill(output, [picture.name])


def run_demo(root, output, one):
    request = RunRequest(folder=output, overwrite=one.overwrite, automatic=False)
    fill(output, [path.relative_to(output) for path in demo.claim_files(plan_of(root, one), request)])


def run_evaluate_prompts(root, output, one):
    cases = read_cases(root / one.listing).cases
    made = make_bundle(root / "bundle")
    kept = {path: path.read_bytes() for path in made.iterdir()}
    read = files_read(cases, str(root / one.listing), str(root / one.names), str(made))
    check_results(output, read, overwrite=one.overwrite)
    fill(output, ["scores.csv", "summary.csv", "summary.json", "clicks.png"])
    assert {path: path.read_bytes() for path in kept} == kept


def run_folds(root, output, one, command):
    data = {"root": str(root / one.listing), "label_names": str(root / one.names), "folds": 2}
    config = OmegaConf.create({"data": data, "overwrite": one.overwrite, "cache": str(root / "cache")})
    cross_validate.claim_folder(config, output, command=command)
    case = f"{one.case}.nii.gz"
    tables = ("splits.json", "summary.json", "auto.json", "report.html", "evaluation/metrics.csv", "doctor/doctor.json")
    fill(output, [*tables, f"predictions/{case}", f"references/{case}", f"fold_0/{case}", "bundle/ensemble.json"])


COMMANDS = {
    "auto": lambda *given: run_folds(*given, command="auto"),
    "compare": run_compare,
    "cross_validate": lambda *given: run_folds(*given, command="cross-validate"),
    "demo": run_demo,
    "evaluate_prompts": run_evaluate_prompts,
    "export": run_export,
    "show_augment": run_show_augment,
    "weights_bundle": run_weights_bundle,
}
SCANS_ALONE = ("compare", "export", "weights_bundle")


@settings(max_examples=60, deadline=None, derandomize=True)
@given(situations(COMMANDS))
def test_no_output_ever_replaces_an_input(one):
    check_situation(one, COMMANDS, reads_scans_alone=SCANS_ALONE)


@pytest.mark.slow
@settings(max_examples=1000, deadline=None)
@given(situations(COMMANDS))
def test_no_output_ever_replaces_an_input_in_any_of_many_situations(one):
    check_situation(one, COMMANDS, reads_scans_alone=SCANS_ALONE)


@pytest.mark.parametrize("name", ["b_mask", "b_mask_box"])
def test_a_demo_never_replaces_the_scan_of_another_case(name, tmp_path):
    one = SimpleNamespace(
        listing="cases.csv", names="label_names.json", images="images", labels="labels", case=name, overwrite=True
    )
    make_data(tmp_path, one)
    request = RunRequest(folder=tmp_path / "images", overwrite=True, automatic=False)
    with pytest.raises(UserError, match=rf"input and output.*{name}\.nii\.gz|{name}\.nii\.gz.*input and output"):
        demo.claim_files(plan_of(tmp_path, one), request)
