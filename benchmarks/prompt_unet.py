"""prompt_unet from scratch: half of the structures of ct_a trained, these and others asked for on another body.

    python benchmarks/prompt_unet.py [--experiment prompt_unet] [--seeds 0 1 2] [--minutes 30] [--steps N]
                                     [--options KEY=VALUE …]

A seed trains an experiment for so many minutes (or steps, to try it), then its bundle is asked on ct_b slice by slice
(a box, and clicks in the middle of the largest error; not one of volumes, as prompt_unet_3d), and in whole volumes (a
box and five clicks). Prints
mean Dice of each structure over seeds, and their least and largest; writes all under --output, and the values of each
seed to benchmarks/results.
"""

import argparse
import json
import platform
import subprocess
import sys
from collections import defaultdict
from datetime import date
from pathlib import Path
from statistics import fmean

import torch

ROOT = Path(__file__).resolve().parents[1]
OF_VOLUMES = "prompt_unet_3d"
TRAINED = ["liver", "spleen", "stomach", "aorta", "colon"]
OTHERS = ["spinal_cord", "inferior_vena_cava", "autochthon_left", "autochthon_right", "vertebrae_T12", "rib_left_9"]


def command(script, *options):
    subprocess.run([sys.executable, ROOT / "scripts" / f"{script}.py", *options], cwd=ROOT, check=True)


def run_seed(seed, asked):
    """Train a seed and ask its bundle; return rows (protocol, structure, prompt, Dice)."""
    place = asked.output / f"seed_{seed}"
    budget = f"train.steps={asked.steps}" if asked.steps else f"train.minutes={asked.minutes}"
    options = [budget, *(["train.minutes=null"] if asked.steps else []), *asked.options]
    if not (place / "bundle" / "bundle.json").is_file():
        options += [f"seed={seed}", f"hydra.run.dir={place}", "overwrite=true"]
        command("train", f"experiment={asked.experiment}", *options)
    about = [f"bundle={place}/bundle", f"target=[{','.join(asked.structures)}]", "overwrite=true"]
    drawn = ["prompts=[box,1,3,5,9]", "first_click=central", "click_at=largest"]
    if asked.experiment != OF_VOLUMES:
        command("evaluate_prompts", *about, *drawn, f"hydra.run.dir={place}/slices")
    carried = "propagate.carry=box+mask"  # as it was trained: the answer before comes with a click
    command("evaluate_prompts", *about, "volumes=true", carried, f"hydra.run.dir={place}/volumes")
    kept = place / "slices" / "summary.json"
    slices = json.loads(kept.read_text())["scores"] if asked.experiment != OF_VOLUMES else []
    whole = json.loads((place / "volumes" / "volumes.json").read_text())["scores"]
    rows = [("slices", row["structure"], row["prompt"], row["dice"]) for row in slices if row["case"] == "all"]
    rows += [
        ("volumes", row["structure"], key[5:], row[key]) for row in whole for key in row if key.startswith("dice_")
    ]
    rows += [("volumes", row["structure"], "seconds", row["seconds"]) for row in whole]
    return rows


def write(found, asked):
    """Write the values of each protocol, structure and prompt, one a seed."""
    rows = [{"protocol": p, "structure": s, "prompt": q, "values": values} for (p, s, q), values in found.items()]
    trained = f"{asked.steps} steps" if asked.steps else f"{asked.minutes} minutes"
    facts = {"date": date.today().isoformat(), "machine": platform.processor() or platform.machine()}
    facts |= {"torch": torch.__version__, "seeds": asked.seeds, "trained": trained, "options": asked.options}
    place = ROOT / "benchmarks" / "results" / f"{asked.experiment}_half_cpu.json"
    place.write_text(json.dumps(facts | {"rows": rows}, indent=1) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiment", default="prompt_unet", choices=["prompt_unet", OF_VOLUMES])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--minutes", type=float, default=30.0, help="of training, by the clock")
    parser.add_argument("--steps", type=int, help="of training, in place of minutes")
    parser.add_argument("--structures", nargs="+", default=[*TRAINED, *OTHERS])
    parser.add_argument("--options", nargs="*", default=[], help="of segfocal train")
    parser.add_argument("--output", type=Path, help="by default runs/EXPERIMENT_half")
    asked = parser.parse_args()
    asked.output = asked.output or ROOT / "runs" / f"{asked.experiment}_half"
    found = defaultdict(list)
    for seed in asked.seeds:
        for protocol, structure, prompt, value in run_seed(seed, asked):
            found[protocol, structure, prompt].append(value)
    write(found, asked)
    for (protocol, structure, prompt), values in found.items():
        print(f"{protocol:8} {structure:22} {prompt:8} {fmean(values):.3f} ({min(values):.3f} to {max(values):.3f})")


if __name__ == "__main__":
    main()
