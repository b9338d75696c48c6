"""Where a training step's time goes: images a second and the parts of a step, on the demo scans.

    python benchmarks/train.py [--models sam_tiny unet sam_med2d] [--precision fp32] [--workers 0 2] [--steps 20]
    python benchmarks/train.py --compare [--models sam_tiny unet] [--steps 3] [--rounds 9] [--threads 2]

Data is what the loop waits for, with so many loading processes each, which work beside the other parts (0: the loop
reads for itself). The rest is timed one part after the other, with the device waited for; the loss is that of all
rounds of a step. --compare takes turns, `steps` steps of sam_tiny or unet each, between the step as it was before the
changes of `train_before.py`, with each of them alone, with all but each, with all, and with all and
train.precision=auto (bfloat16 where the device multiplies it in hardware): medians over the rounds of the ratio to the
step before in the same round. Prints a table and writes JSON under benchmarks/results.
"""

import argparse
import itertools
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import date
from pathlib import Path

import torch
from accelerate.state import AcceleratorState
from hydra import compose, initialize_config_dir
from train_before import CHANGES, OF_ONE_MODEL, options_before, put_back, step_as_before

from segfocal.cli.app import conf_folder, register_resolvers
from segfocal.cli.training_plan import build_plan
from segfocal.data.sampling.dataset import SliceDataset, Steps, load
from segfocal.data.store.prepare import prepare
from segfocal.data.store.prepared_case import pixel_rates
from segfocal.engine.build_run import build_run
from segfocal.engine.connect import connect
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
    """Adds up seconds by part and step; waits for the device at both ends."""

    def __init__(self, device):
        self.device, self.rows, self.step = device, [], dict.fromkeys(PARTS, 0.0)

    def now(self):
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def time(self, part, function, *arguments):
        begun = self.now()
        result = function(*arguments)
        self.step[part] += self.now() - begun
        return result

    def end_step(self):
        self.step["forward"] -= self.step["loss"]
        self.rows.append(self.step)
        self.step = dict.fromkeys(PARTS, 0.0)

    def medians(self, first):
        return {part: statistics.median(row[part] for row in self.rows[first:]) for part in PARTS}


class Training:
    """A run whose steps are timed part by part.

    without: changes of `train_before.py` that it does not have.
    """

    def __init__(self, model, folder, asked, *, workers=0, steps=10**6, without=(), precision=None):
        AcceleratorState._reset_state(reset_partial_state=True)  # keeps the precision of the run before
        precision = precision or asked.precision
        options = [f"train.precision={precision}", f"train.steps={steps}", f"train.workers={workers}"]
        self.plan = plan_of(model, [*options, f"train.batch_size={asked.batch_size}", *options_before(without)])
        self.without = without
        accelerator = connect(self.plan.settings, folder)
        prepared = prepare(self.plan.cases.of("train"), self.plan.preparation, self.plan.cache)
        self.run = build_run(self.plan, folder, accelerator, rates=pixel_rates(prepared))
        step_as_before(self.run.optimizer, without)
        self.clock = Clock(accelerator.device)
        criterion = self.plan.task.criterion
        inner = criterion.forward
        criterion.forward = lambda *arguments, **more: self.clock.time("loss", lambda: inner(*arguments, **more))
        drawn = Steps(seed=0, first=0, last=steps, batch_size=asked.batch_size)
        dataset = SliceDataset(prepared, len(self.plan.preparation.structures), self.plan.sampling)
        loaded = load(dataset, drawn, workers=workers, pin=self.clock.device.type == "cuda")
        self.batches = iter(on_device(loaded, self.clock.device))

    def steps(self, count):
        """Make so many steps; return the seconds they took."""
        begun = self.clock.now()
        with put_back(self.without):
            for _ in range(count):
                self.one_step(self.clock.time("data", next, self.batches))
                self.clock.end_step()
        return self.clock.now() - begun

    def one_step(self, batch):
        run, clock = self.run, self.clock
        run.task.train()

        def augmented():
            moved = self.plan.augment(batch, size=self.plan.window)
            return moved.channels_last() if run.channels_last else moved

        batch = clock.time("augment", augmented)
        report = clock.time("forward", run.task, batch)
        clock.time("backward", run.accelerator.backward, report.total)
        clock.time("optimiser", self.optimise)

    def optimise(self):
        run = self.run
        run.accelerator.clip_grad_norm_(run.task.parameters(), 1.0)
        run.optimizer.step()
        run.optimizer.zero_grad()
        run.average.update_parameters(run.accelerator.unwrap_model(run.task).model)


def measured(model, workers, asked):
    """Return seconds by part, and images a second, of `asked.steps` steps of a model."""
    with tempfile.TemporaryDirectory() as folder:
        training = Training(model, Path(folder), asked, workers=workers, steps=asked.steps + WARM_UP)
        cuda = training.clock.device.type == "cuda"
        training.steps(WARM_UP)
        if cuda:
            torch.cuda.reset_peak_memory_stats()
        whole = training.steps(asked.steps)
        gib = torch.cuda.max_memory_allocated() / 2**30 if cuda else None
    parts = training.clock.medians(WARM_UP)
    return {"parts": parts, "images_per_second": asked.steps * asked.batch_size / whole, "gpu_gib": gib}


def compared(model, asked):
    """Return, by the changes that a step has, its ratio to the step before in each round and its seconds by part."""
    every = [change for change in CHANGES if OF_ONE_MODEL.get(change, model) == model]
    ways = {"before": every} | {f"{one} alone": [c for c in every if c != one] for one in every}
    ways |= {f"all but {one}": [one] for one in every} | {"all": []}
    with ExitStack() as folders:
        trainings = {
            name: Training(model, Path(folders.enter_context(tempfile.TemporaryDirectory())), asked, without=without)
            for name, without in ways.items()
        }
        place = Path(folders.enter_context(tempfile.TemporaryDirectory()))
        trainings["all, precision=auto"] = Training(model, place, asked, precision="auto")
        seconds = {name: [] for name in trainings}
        for training in trainings.values():
            training.steps(WARM_UP)
        for _, (name, training) in itertools.product(range(asked.rounds), trainings.items()):
            seconds[name].append(training.steps(asked.steps))
    return {
        name: {
            "ratios": [old / new for old, new in zip(seconds["before"], seconds[name], strict=True)],
            "images_per_second": asked.steps * asked.batch_size / statistics.median(seconds[name]),
            "parts": training.clock.medians(WARM_UP),
        }
        for name, training in trainings.items()
    }


def print_comparison(model, rows):
    print(f"\n{model:24}{'ratio':>7}{'from':>7}{'to':>6}{'images/s':>10}" + "".join(f"{part:>11}" for part in PARTS))
    for name, row in rows.items():
        ratios = row["ratios"]
        shown = f"{statistics.median(ratios):7.2f}{min(ratios):7.2f}{max(ratios):6.2f}{row['images_per_second']:10.1f}"
        print(f"{name:24}{shown}" + "".join(f"{1e3 * row['parts'][part]:8.1f} ms" for part in PARTS))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=CHOICES)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2])
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--threads", type=int, help="of torch; by default its own choice")
    parser.add_argument("--compare", action="store_true")
    parser.add_argument("--rounds", type=int, default=9)
    asked = parser.parse_args()
    asked.steps = asked.steps or (3 if asked.compare else 20)
    if asked.threads:
        torch.set_num_threads(asked.threads)
    cuda = torch.cuda.is_available()
    where = torch.cuda.get_device_name() if cuda else f"CPU, {torch.get_num_threads()} threads"
    print(f"batches of {asked.batch_size}, {asked.precision}, {where}")
    if asked.compare:
        rows = {model: compared(model, asked) for model in asked.models or ("sam_tiny", "unet")}
        for model, row in rows.items():
            print_comparison(model, row)
    else:
        rows = {
            f"{model}, {workers} workers": measured(model, workers, asked)
            for model in asked.models or CHOICES
            for workers in asked.workers
        }
        print_parts(rows)
    made = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    facts = {
        "date": str(date.today()),
        "machine": f"{platform.machine()}, {where}",
        "torch": torch.__version__,
        "command": " ".join(["python", *sys.argv]),
        "commit": made.stdout.strip() or "unknown",
        "rows": rows,
    }
    kind = ("train_changes" if asked.compare else "train") + ("_cuda" if cuda else "_cpu")
    out = Path(__file__).parent / "results" / f"{kind}_{asked.precision}_b{asked.batch_size}.json"
    out.write_text(json.dumps(facts, indent=2) + "\n")


def print_parts(rows):
    print(f"{'':21}{'images/s':>9}" + "".join(f"{part:>18}" for part in PARTS))
    for name, row in rows.items():
        total = sum(row["parts"].values())
        shares = "".join(f"{1e3 * row['parts'][p]:9.1f} ms {row['parts'][p] / total:5.1%}" for p in PARTS)
        print(f"{name:21}{row['images_per_second']:9.1f}{shares}")


if __name__ == "__main__":
    main()
