"""Where a training step's time goes: images a second and the parts of a step, on the demo scans.

    python benchmarks/train.py [--models sam_tiny unet sam_med2d] [--precision fp32] [--workers 0 2] [--steps 20]

Data is what the loop waits for, with so many loading processes each, which work beside the other parts (0: the loop
reads for itself). The rest is timed one part after the other, with the device waited for. Prints a table and writes
JSON under benchmarks/results.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import torch
from hydra import compose, initialize_config_dir

from segfocal.cli.app import conf_folder, register_resolvers
from segfocal.cli.training_plan import build_plan
from segfocal.data.sampling.dataset import SliceDataset, Steps, load
from segfocal.data.store.prepare import prepare
from segfocal.data.store.prepared_case import pixel_rates
from segfocal.engine.build_run import build_run, connect
from segfocal.engine.prefetch import on_device

PARTS = ("data", "augment", "forward", "loss", "backward", "optimiser")
CHOICES = {
    "sam_tiny": [],
    "unet": ["model=unet", "task=semantic"],
    "sam_med2d": ["model=sam_med2d", "model.multimask=false", "data.window=[256,256]", "data.spacing_mm=[1.5,1.5]"],
}
WARM_UP = 4


def plan_of(model, options):
    register_resolvers()
    with initialize_config_dir(version_base="1.3", config_dir=str(conf_folder())):
        return build_plan(compose("train", overrides=[*CHOICES[model], *options]))


class Clock:
    """Adds up seconds by part; waits for the device at both ends."""

    def __init__(self, device):
        self.device, self.rows = device, {part: [] for part in PARTS}

    def now(self):
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def time(self, part, function, *arguments):
        begun = self.now()
        result = function(*arguments)
        self.rows[part].append(self.now() - begun)
        return result

    def median(self, part):
        return statistics.median(self.rows[part][WARM_UP:])


def measured(model, workers, asked):
    """Return seconds by part, and images a second, of `asked.steps` steps of a model."""
    options = [f"train.precision={asked.precision}", f"train.steps={asked.steps + WARM_UP}"]
    plan = plan_of(model, [*options, f"train.workers={workers}", f"train.batch_size={asked.batch_size}"])
    with tempfile.TemporaryDirectory() as folder:
        accelerator = connect(plan.settings, Path(folder))
        prepared = prepare(plan.cases.of("train"), plan.preparation, plan.cache)
        run = build_run(plan, Path(folder), accelerator, rates=pixel_rates(prepared))
        clock = Clock(accelerator.device)
        criterion = plan.task.criterion
        inner = criterion.forward
        criterion.forward = lambda *arguments: clock.time("loss", inner, *arguments)
        steps = Steps(seed=0, first=0, last=plan.settings.steps, batch_size=asked.batch_size)
        dataset = SliceDataset(prepared, len(plan.preparation.structures), plan.sampling)
        pin = clock.device.type == "cuda"
        begun = clock.now()
        for step, batch in enumerate(on_device(load(dataset, steps, workers=workers, pin=pin), clock.device)):
            clock.rows["data"].append(clock.now() - begun)
            one_step(run, batch, clock)
            if step + 1 == WARM_UP:
                if pin:
                    torch.cuda.reset_peak_memory_stats()
                whole = clock.now()
            begun = clock.now()
        whole = clock.now() - whole
        gib = torch.cuda.max_memory_allocated() / 2**30 if pin else None
    parts = {part: clock.median(part) for part in PARTS}
    parts["forward"] -= parts["loss"]
    return {"parts": parts, "images_per_second": asked.steps * asked.batch_size / whole, "gpu_gib": gib}


def one_step(run, batch, clock):
    plan, accelerator = run.plan, run.accelerator
    run.task.train()
    batch = clock.time("augment", lambda: plan.augment(batch, size=plan.window))
    report = clock.time("forward", run.task, batch)
    clock.time("backward", accelerator.backward, report.total)

    def optimise():
        accelerator.clip_grad_norm_(run.task.parameters(), 1.0)
        run.optimizer.step()
        run.optimizer.zero_grad()
        run.average.update_parameters(accelerator.unwrap_model(run.task).model)

    clock.time("optimiser", optimise)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=CHOICES, default=list(CHOICES))
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2])
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--steps", type=int, default=20)
    asked = parser.parse_args()
    rows = {
        f"{model}, {workers} workers": measured(model, workers, asked)
        for model in asked.models
        for workers in asked.workers
    }
    cuda = torch.cuda.is_available()
    where = torch.cuda.get_device_name() if cuda else f"CPU, {torch.get_num_threads()} threads"
    print(f"batches of {asked.batch_size}, {asked.precision}, {where}")
    print(f"{'':21}{'images/s':>9}" + "".join(f"{part:>18}" for part in PARTS))
    for name, row in rows.items():
        total = sum(row["parts"].values())
        shares = "".join(f"{1e3 * row['parts'][p]:9.1f} ms {row['parts'][p] / total:5.1%}" for p in PARTS)
        print(f"{name:21}{row['images_per_second']:9.1f}{shares}")
    made = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    facts = {
        "date": str(date.today()),
        "machine": f"{platform.machine()}, {where}",
        "torch": torch.__version__,
        "command": " ".join(["python", *sys.argv]),
        "commit": made.stdout.strip() or "unknown",
        "rows": rows,
    }
    out = (
        Path(__file__).parent
        / "results"
        / f"train_{'cuda' if cuda else 'cpu'}_{asked.precision}_b{asked.batch_size}.json"
    )
    out.write_text(json.dumps(facts, indent=2) + "\n")


if __name__ == "__main__":
    main()
