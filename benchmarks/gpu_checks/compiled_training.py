"""train.compile=true: that it compiles and learns the same, and what it gains."""

from __future__ import annotations

import math

import torch

from gpu_checks.budget import Budget
from gpu_checks.row import Row, judged
from gpu_checks.training import plan_for, trained

STEPS = 60
CLOSE = 1e-2  # of the first loss, before roundings have grown


def compiled_training(device: torch.device, budget: Budget) -> list[Row]:
    """Check that the compiled network's first loss is the eager one's and all are finite; compare their speed."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    steps = f"train.steps={min(budget.steps, STEPS)}"
    eager = trained(plan_for("sam_tiny", device, budget, steps), device, budget)
    graphs = -torch._dynamo.utils.counters["stats"]["unique_graphs"]  # of the loss
    made = trained(plan_for("sam_tiny", device, budget, steps, "train.compile=true"), device, budget)
    graphs += torch._dynamo.utils.counters["stats"]["unique_graphs"]
    apart = abs(made.losses[0] / eager.losses[0] - 1)
    holds = graphs > 0 and apart <= CLOSE and made.finite and all(map(math.isfinite, made.losses))
    found = f"{made.images_per_second:.1f} images/s, {graphs} graphs, first loss {apart:.1e} from the eager one's"
    found += f", in {made.gauge.seconds:.1f} s with the compilation"
    ratio = made.images_per_second / eager.images_per_second
    return [Row(verdict=judged(holds), ratio=ratio, found=found)]
