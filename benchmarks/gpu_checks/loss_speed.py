"""Our loss against SAM-Med2D's and MONAI's in three dtypes: right, how fast, at which share of a copy's bandwidth."""

from __future__ import annotations

from functools import partial

import losses
import torch

from gpu_checks.budget import Budget, Part, in_turn
from gpu_checks.row import Row, judged

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
FULL = ((16, 1, 256, 256), (64, 1, 1024, 1024))  # what a step of training has, and enough to fill a GPU
SMALL = ((2, 1, 64, 64),)
JUDGED_TO = 2**22  # pixels, of which float64 takes little memory
JOB = "20 focal + Dice"
SCALE = 2.0**16  # as the scaler's at its start, without which gradients in fp16 are zero


def loss_speed(device: torch.device, budget: Budget) -> list[Row]:
    """Check value and gradient in every dtype, and time forward + backward against other people's formulas."""
    copy = losses.copy_bandwidth(device, 2**28 if budget.full else 2**20)
    parts = [
        Part(name=f"{_named(dtype)} {'×'.join(map(str, shape))}", check=partial(_one, shape, dtype, copy))
        for shape in (FULL if budget.full else SMALL)
        for dtype in DTYPES
    ]
    return list(in_turn(parts, device, budget))


def _one(shape: tuple[int, ...], dtype: torch.dtype, copy: float, device: torch.device, budget: Budget) -> list[Row]:
    torch._dynamo.reset()  # as benchmarks/losses.py: no shape inherits the generic code of an earlier one
    x = (torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 3).to(device, dtype).requires_grad_()
    t = (torch.rand(shape, generator=torch.Generator().manual_seed(1)) < 0.01).to(device, torch.uint8)
    forms = {name: loss for name, loss in losses.contenders()[JOB].items() if not name.endswith(", compiled")}
    rows = losses.measure(forms, x, t)
    own = rows[losses.REFERENCE]
    if "error" in own:
        return [Row(verdict="fail", found=f"ours compiled {own['error']}")]
    facts = losses.against_the_device(rows, x, t, copy)
    took = own["forward_backward"]["median"]
    found = f"{1e3 * took:.3f} ms, {facts['bytes_per_second'] / 1e9:.0f} GB/s, {facts['share_of_copy']:.0%} of a copy's"
    return [
        *([_exact(forms[losses.REFERENCE], x, t)] if x.numel() <= JUDGED_TO else []),
        Row(name="bandwidth", found=found, numbers=facts),
        *[_rival(name, row, took) for name, row in rows.items() if name != losses.REFERENCE],
    ]


def _named(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _rival(name: str, row: dict, took: float) -> Row:
    if "error" in row:
        return Row(name=name, found=row["error"])
    middle = row["forward_backward"]["median"]
    found = f"{1e3 * middle:.3f} ms, {row['peak_maps']:.1f} float32 maps, value {row['value']}"
    return Row(name=name, ratio=middle / took, found=found, numbers=row)


def _exact(loss, x: torch.Tensor, t: torch.Tensor) -> Row:
    """Return the line that value and gradient are the textbook formula's in float64, to the rounding of the dtype."""
    x.grad = None
    value = loss(x, t)
    (value * SCALE).backward()
    own = x.grad.double()
    exact = x.detach().double().requires_grad_()
    true = losses.power_of_one_minus_p_t(exact, t)
    (true * SCALE).backward()
    apart = abs(value.item() / true.item() - 1)
    furthest = ((own - exact.grad).abs().max() / exact.grad.abs().max()).item()
    rounding = torch.finfo(x.dtype).eps
    holds = apart <= 1e-5 and furthest <= max(rounding, 1e-5)
    found = f"value {apart:.1e} from float64's, gradient {furthest:.1e} of its largest"
    return Row(name="against float64", verdict=judged(holds), found=found)
