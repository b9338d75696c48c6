"""A working folder, and every command with an output on what lies in it: small, quick, and with relative paths."""

import torch

from segfocal.models import build
from tests.compare.runs import make_run
from tests.random_bundle import make_bundle
from tests.scans import make_sphere_cases
from tests.system.commands import SMALL

SAM = {"_target_": "segfocal.models.sam_tiny", "image_size": 64}
IMAGE, LABEL = "data/images/c0.nii.gz", "data/labels/c0.nii.gz"
CASES = ["data=csv", "data.root=data/cases.csv"]
SEEN = ["data.window=[32,32]", "data.spacing_mm=[2,2]", "intensity=percentiles", "target=1"]
BRIEF = ["augment=light", "train.steps=2", "train.validate_every=0", "train.save_minutes=99"]
TRAIN = [*SMALL, *BRIEF]
UNET = ["model=unet", "task=semantic", "model.widths=[8,8,8]", *SEEN, "train.batch_size=4", *BRIEF]
ASKED = ["model=sam_tiny", "model.weights=weights.pt", "split=all", "prompts=[box,1]"]
PROMPTS = [*ASKED, "data.window=[64,64]", *SEEN[1:]]
BUNDLE = ["--structure=liver:1", "--weights=weights.pt", "--image-size=64"]
COMMANDS = {
    "bundle": lambda out: ["weights", "bundle", "sam_tiny", f"{out}/bundle", *BUNDLE],
    "compare": lambda out: ["compare", "runs", "--output", out],
    "convert": lambda out: ["weights", "convert", "weights.pt", f"{out}/weights.safetensors"],
    "cross_validate": lambda out: ["cross_validate", *CASES, *UNET, f"output={out}/cv", f"cache={out}/prepared"],
    "doctor": lambda out: ["doctor", "data.root=data/cases.csv", f"output={out}", "fix=true", "workers=1"],
    "evaluate": lambda out: ["evaluate", f"prediction={LABEL}", f"reference={LABEL}", f"output={out}"],
    "evaluate_prompts": lambda out: [
        "evaluate_prompts", *CASES, *PROMPTS, f"hydra.run.dir={out}/prompts", f"cache={out}/prepared",
    ],
    "export": lambda out: ["export", "bundle=bundle", f"scan={IMAGE}", f"output={out}"],
    "fingerprint": lambda out: ["fingerprint", *CASES, "target=1", f"output={out}", "workers=1"],
    "predict": lambda out: ["predict", "bundle=bundle", f"input={IMAGE}", f"output={out}/mask.nii.gz"],
    "prepare": lambda out: ["prepare", *CASES, *SEEN, f"cache={out}", "workers=1"],
    "train": lambda out: ["train", *CASES, *TRAIN, f"hydra.run.dir={out}/run", f"cache={out}/prepared"],
}  # fmt: skip
MORE = {
    "auto": lambda out: ["auto", *CASES, "target=1", "minutes=9", f"output={out}/auto"],
    "predict_many": lambda out: ["predict", "bundle=bundle", "input=data/images", f"output={out}"],
    "show_augment": lambda out: ["show_augment", *CASES, *SEEN, f"output={out}/samples.png", f"cache={out}/prepared"],
}  # not among those that are killed and starved


def make_place(folder):
    """Fill a working folder with scans, runs, a bundle and a file of weights; return it."""
    make_sphere_cases(folder / "data", 2, splits=["train", "val"])
    make_bundle(folder / "bundle")
    for number, name in enumerate("ab"):
        make_run(folder / "runs" / name, {"x": 0.5}, f"train.lr={number}")
    torch.save(build(SAM).state_dict(), folder / "weights.pt")
    return folder
