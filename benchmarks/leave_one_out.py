"""Masks at equal minutes: every case segmented by a model that never saw it, ours beside nnU-Net's and MONAI's recipes.

    python benchmarks/leave_one_out.py CASES.csv --label 52 --seconds 300 [--arms ours nnunet_2d monai]

CASES.csv has the columns name, image, label (NIfTI, one scan each). Each arm trains one model a case left out, for the
same seconds by the clock and with the same threads; preparing and predicting are not counted for any of them. nnU-Net
(pip install nnunetv2, beside torch; torchvision is not needed) plans and prepares as it always does; its trainer is
stopped by the clock, its polynomial rate follows the share of time used, and it predicts without mirrored passes.
MONAI's arm is the recipe of its spleen tutorial: 1.5 × 1.5 × 2 mm, 96³ patches, UNet 16 to 256, Dice loss, Adam 1e-4.
Ours is what `segfocal auto` tries first, or --recipe of it; like the rivals it keeps the threshold of one half and
removes nothing from its masks. Prints a table and writes JSON under benchmarks/results.
"""

import argparse
import csv
import importlib.metadata
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from statistics import fmean

import nibabel as nib
import numpy as np
import torch

ARMS = ("ours", "nnunet_2d", "nnunet_3d_fullres", "monai")


def dice(mask, truth):
    total = int(mask.sum()) + int(truth.sum())
    return 2 * int((mask & truth).sum()) / total if total else 1.0


def truth_of(case, label):
    return np.asarray(nib.load(case["label"]).dataobj) == label


def ours(cases, asked, work):
    """Return the Dice of each case by our cross-validation with one recipe of `auto`."""
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    from segfocal.auto.recipes import overrides, recipes_for
    from segfocal.cli.app import conf_folder, register_resolvers
    from segfocal.cli.auto import fingerprint_of
    from segfocal.cli.cross_validate import validate_folds

    register_resolvers()
    names = [case["name"] for case in cases]
    (work / "splits.json").write_text(
        json.dumps([{"train": [n for n in names if n != held], "val": [held]} for held in names])
    )
    options = [
        "data=csv", f"data.root={asked.cases.resolve()}", f"target={asked.label}", f"data.splits={work}/splits.json",
        f"cache={work}/prepared", f"train.minutes={asked.seconds / 60}", "train.validate_every=0", f"seed={asked.seed}",
    ]  # fmt: skip
    with initialize_config_dir(version_base="1.3", config_dir=str(conf_folder())):
        base = compose("train", overrides=options)
        fingerprint = fingerprint_of(OmegaConf.to_container(base, resolve=True))
        recipe = next(one for one in recipes_for(fingerprint) if one.name == asked.recipe)
        config = compose("train", overrides=[*options, *overrides(recipe.options, options), *asked.more])
    # nothing is chosen on the cases that are judged, as the rivals choose nothing either
    outcome = validate_folds(config, work / "cv", folds=len(cases), threshold=False, postprocess=False)
    notes = {"recipe": recipe.name, "options": dict(recipe.options), "more": asked.more, **outcome.facts}
    notes["steps"] = [
        json.loads((work / "cv" / f"fold_{f}" / "summary.json").read_text())["steps"] for f in range(len(cases))
    ]
    return {case.files.name: case.metrics[0].dice for case in outcome.judged}, notes


def nnunet(configuration, cases, asked, work):
    """Return the Dice of each case by nnU-Net, whose trainer is stopped by the clock."""
    for name in ("raw", "preprocessed", "results"):
        os.environ[f"nnUNet_{name}"] = str(work.parent / "nnunet" / name)
    os.environ |= {"nnUNet_compile": "f", "nnUNet_n_proc_DA": "1", "nnUNet_def_n_proc": "1"}
    raw = work.parent / "nnunet" / "raw" / "Dataset001_Target"
    prepared = work.parent / "nnunet" / "preprocessed" / "Dataset001_Target"
    if not prepared.is_dir():
        _write_raw(cases, asked.label, raw)
        from nnunetv2.experiment_planning.plan_and_preprocess_api import (
            extract_fingerprints,
            plan_experiments,
            preprocess,
        )

        extract_fingerprints([1], num_processes=1)
        plan_experiments([1])
        preprocess([1], configurations=["2d", "3d_fullres"], num_processes=[1, 1])
        names = [case["name"] for case in cases]
        splits = [{"train": [n for n in names if n != held], "val": [held]} for held in names]
        (prepared / "splits_final.json").write_text(json.dumps(splits))
    plans = json.loads((prepared / "nnUNetPlans.json").read_text())
    dataset = json.loads((raw / "dataset.json").read_text())
    found, steps = {}, []
    for fold, case in enumerate(cases):
        asked_of = (plans | {"continue_training": False}, configuration, fold, dataset)
        trainer = _timed_trainer(asked.seconds)(*asked_of, device=torch.device("cpu"))
        torch.set_num_threads(asked.threads)  # nnU-Net sets its own
        trainer.run_training()
        trainer.inference_allowed_mirroring_axes = None  # four or eight passes in place of one
        trainer.perform_actual_validation(False)
        mask = nib.load(Path(trainer.output_folder) / "validation" / f"{case['name']}.nii.gz")
        found[case["name"]] = dice(np.asarray(mask.dataobj) == 1, truth_of(case, asked.label))
        steps.append(trainer.made)
    notes = {
        "version": importlib.metadata.version("nnunetv2"),
        "patch": plans["configurations"][configuration]["patch_size"],
    }
    return found, notes | {"batch": plans["configurations"][configuration]["batch_size"], "steps": steps}


def _write_raw(cases, label, raw):
    for name in ("imagesTr", "labelsTr"):
        (raw / name).mkdir(parents=True)
    for case in cases:
        shutil.copy(case["image"], raw / "imagesTr" / f"{case['name']}_0000.nii.gz")
        source = nib.load(case["label"])
        only = nib.Nifti1Image((np.asarray(source.dataobj) == label).astype(np.uint8), source.affine)
        nib.save(only, raw / "labelsTr" / f"{case['name']}.nii.gz")
    facts = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "target": 1}, "numTraining": len(cases)}
    (raw / "dataset.json").write_text(json.dumps(facts | {"file_ending": ".nii.gz"}))


def _timed_trainer(seconds):
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    class Timed(nnUNetTrainer):
        """nnU-Net's trainer, which ends by the clock; epochs and its validation of patches are left out."""

        made = 0

        def run_training(self):
            self.on_train_start()
            self.network.train()
            next(self.dataloader_train)  # its workers start now
            started, first = time.monotonic(), self.initial_lr
            while (passed := time.monotonic() - started) < seconds:
                for group in self.optimizer.param_groups:
                    group["lr"] = first * (1 - passed / seconds) ** 0.9
                self.train_step(next(self.dataloader_train))
                self.made += 1

        def plot_network_architecture(self):
            pass

    return Timed


def monai(cases, asked, work):
    """Return the Dice of each case by the recipe of MONAI's spleen tutorial, ended by the clock."""
    from monai import transforms as t
    from monai.data import CacheDataset, DataLoader, decollate_batch
    from monai.inferers import sliding_window_inference
    from monai.losses import DiceLoss
    from monai.networks.nets import UNet

    torch.manual_seed(asked.seed)
    keys = ["image", "label"]
    fixed = [
        t.LoadImaged(keys), t.EnsureChannelFirstd(keys), t.Lambdad("label", lambda x: (x == asked.label).float()),
        t.ScaleIntensityRanged("image", -57, 164, 0.0, 1.0, clip=True), t.CropForegroundd(keys, source_key="image"),
        t.Orientationd(keys, axcodes="RAS"), t.Spacingd(keys, pixdim=(1.5, 1.5, 2.0), mode=("bilinear", "nearest")),
    ]  # fmt: skip
    crop = t.RandCropByPosNegLabeld(
        keys, "label", spatial_size=(96, 96, 96), pos=1, neg=1, num_samples=4, image_key="image"
    )
    padded = t.SpatialPadd(keys, (96, 96, 96))
    found, steps = {}, []
    for held in cases:
        train = CacheDataset([c for c in cases if c is not held], t.Compose([*fixed, padded, crop]), progress=False)
        loader = DataLoader(train, batch_size=2, shuffle=True, num_workers=0)
        model = UNet(3, 1, 2, channels=(16, 32, 64, 128, 256), strides=(2, 2, 2, 2), num_res_units=2, norm="batch")
        loss, optimizer = DiceLoss(to_onehot_y=True, softmax=True), torch.optim.Adam(model.parameters(), 1e-4)
        started, made = time.monotonic(), 0
        while time.monotonic() - started < asked.seconds:
            for batch in loader:
                optimizer.zero_grad()
                loss(model(batch["image"]), batch["label"]).backward()
                optimizer.step()
                made += 1
                if time.monotonic() - started >= asked.seconds:
                    break
        model.eval()
        before = t.Compose(fixed)
        after = t.Invertd("pred", transform=before, orig_keys="image", nearest_interp=False, to_tensor=True)
        item = before(dict(held))
        with torch.no_grad():
            logits = sliding_window_inference(item["image"][None], (96, 96, 96), 4, model, overlap=0.5)
        item["pred"] = decollate_batch(logits)[0]
        mask = after(item)["pred"].argmax(0).numpy().astype(bool)
        found[held["name"]] = dice(mask, truth_of(held, asked.label))
        steps.append(made)
    return found, {"steps": steps}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", type=Path)
    parser.add_argument("--label", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--arms", nargs="+", default=ARMS, choices=ARMS)
    parser.add_argument("--recipe", default="unet_coarse")
    parser.add_argument("--more", nargs="*", default=[], help="further options of training for our arm")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "leave_one_out.json")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    with asked.cases.open() as file:
        cases = [{k: row[k] for k in ("name", "image", "label")} for row in csv.DictReader(file)]
    for case in cases:
        case |= {key: str((asked.cases.parent / case[key]).resolve()) for key in ("image", "label")}
    facts = {
        "date": str(date.today()), "command": sys.argv[1:], "cpu": platform.processor() or platform.machine(),
        "threads": asked.threads, "torch": torch.__version__, "seconds": asked.seconds, "label": asked.label,
        "arms": {},
    }  # fmt: skip
    run = {"ours": ours, "monai": monai}
    with tempfile.TemporaryDirectory() as folder:
        for arm in asked.arms:
            work = Path(folder) / arm
            work.mkdir()
            started = time.monotonic()
            if arm.startswith("nnunet"):
                found, notes = nnunet(arm.removeprefix("nnunet_"), cases, asked, work)
            else:
                found, notes = run[arm](cases, asked, work)
            facts["arms"][arm] = {
                "dice": found,
                "mean": fmean(found.values()),
                "wall_s": time.monotonic() - started,
            } | notes
            asked.output.write_text(json.dumps(facts, indent=2, default=str) + "\n")
            print(
                f"{arm:20} mean {fmean(found.values()):.3f}  " + "  ".join(f"{n} {d:.3f}" for n, d in found.items()),
                flush=True,
            )


if __name__ == "__main__":
    main()
