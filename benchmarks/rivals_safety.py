"""Focal losses on extreme logits, ours and other people's: are the loss and its gradient finite and right?

For every γ, |logit|, sign, target and precision below, a loss is asked for a few equal pixels and held to a closed
form in float64, at the logit as rounded to the precision: only the formula is judged. The columns count cases:

    failed        non-finite or wrong; the columns after it say how, and a case may stand in several
    non-finite    the loss or the gradient is NaN or infinite
    dead          the gradient is exactly zero where the true one is above 1e-3
    off by 10 %   the loss or the gradient is off by more than a tenth of the true one
    and matters   the same, where the true one is above 1e-3

Wrong is off by more than 2 eps + 2e-5 of the true value (eps of the logits' dtype, for rounding what goes in and out;
2e-5 for the arithmetic) and more than underflow, 1e-30 (float16: two of its smallest steps, 1.2e-7). This holds for
all, and is strict on arithmetic in a half type: "off by 10 %" tells a few lost bits from a wrong answer.

The target has the logits' dtype; "autocast" is float32 logits under bfloat16 autocast. A formula is that of the
package named, in our words; installed packages are called themselves.

    python benchmarks/rivals_safety.py [device]
    python benchmarks/rivals_safety.py --ask torchvision float32 0.5 20 1   (precision, γ, logit, target of one case)
"""

import argparse
import itertools
import json
import math
import platform
import subprocess
import sys
from contextlib import nullcontext
from datetime import date
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import monai.losses
import torch
from torch.nn import functional as F

from segfocal.losses import FocalLoss, WeightedSum

GAMMAS = (0, 0.5, 1, 1.5, 2, 5)
LOGITS = tuple(sign * size for size in (0, 4, 8.5, 12, 17, 20, 30, 60, 100, 1e4) for sign in (1, -1))
PRECISIONS = {"float32": torch.float32, "autocast": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
ALPHA, MATTERS, EXAMPLES = 0.25, 1e-3, 3
COLUMNS = ("failed", "non-finite", "dead", "off by 10 %", "and matters")


def ours(x, t, gamma):
    return FocalLoss(gamma, ALPHA, reduction="none")(x, t)


@cache
def _compiled(gamma):
    return WeightedSum({"focal": FocalLoss(gamma, ALPHA)}, {"focal": 1.0}, compile=True)


def ours_compiled(x, t, gamma):
    """The compiled pass that focal shares with Dice and others, for targets that are not floating point; a mean."""
    return _compiled(gamma)(x, t.to(torch.uint8)).total


def monai_class(x, t, gamma):
    return monai.losses.FocalLoss(gamma=gamma, alpha=ALPHA, reduction="none")(x, t)


def smp_class(x, t, gamma):
    from segmentation_models_pytorch.losses import FocalLoss as Smp

    return Smp("binary", alpha=ALPHA, gamma=gamma, reduction=None)(x, t)


def kornia_function(x, t, gamma):
    from kornia.losses import binary_focal_loss_with_logits

    return binary_focal_loss_with_logits(x, t, alpha=ALPHA, gamma=gamma, reduction="none")


def powers_of_the_probability(x, t, gamma):
    """SAM-Med2D's formula: powers of p, logarithms guarded by 1e-12."""
    p = torch.sigmoid(x)
    positive = ALPHA * t * (1 - p) ** gamma * torch.log(p + 1e-12)
    negative = (1 - ALPHA) * (1 - t) * p**gamma * torch.log(1 - p + 1e-12)
    return -(positive + negative)


def power_of_one_minus_p_t(x, t, gamma):
    """torchvision's and fvcore's formula: cross-entropy times a power of 1 − p_t."""
    p = torch.sigmoid(x)
    missing = 1 - (p * t + (1 - p) * (1 - t))
    return _alpha_t(t) * F.binary_cross_entropy_with_logits(x, t, reduction="none") * missing**gamma


def power_of_one_minus_exp(x, t, gamma):
    """The formula of segmentation_models.pytorch: p_t is the exponential of minus the cross-entropy."""
    entropy = F.binary_cross_entropy_with_logits(x, t, reduction="none")
    return _alpha_t(t) * entropy * (1 - torch.exp(-entropy)).pow(gamma)


def powers_of_both_sigmoids(x, t, gamma):
    """kornia's formula: p and 1 − p each by a sigmoid, logarithms by log-sigmoid."""
    positive = ALPHA * t * torch.sigmoid(-x).pow(gamma) * F.logsigmoid(x)
    negative = (1 - ALPHA) * (1 - t) * torch.sigmoid(x).pow(gamma) * F.logsigmoid(-x)
    return -(positive + negative)


def _alpha_t(t):
    return ALPHA * t + (1 - ALPHA) * (1 - t)


def contenders():
    """Return each loss by name, with where it comes from: a function of logits, target and γ.

    It gives a loss for every pixel, or their mean.
    """
    losses = {
        "ours": ("FocalLoss", ours),
        "ours-compiled": ("WeightedSum", ours_compiled),
        "SAM-Med2D": ("formula", powers_of_the_probability),
        "torchvision": ("formula", power_of_one_minus_p_t),
        "smp": ("formula", power_of_one_minus_exp),
        "kornia": ("formula", powers_of_both_sigmoids),
        "MONAI": (f"monai {version('monai')}", monai_class),
    }
    if find_spec("segmentation_models_pytorch"):
        losses["smp"] = (f"segmentation_models_pytorch {version('segmentation_models_pytorch')}", smp_class)
    if find_spec("kornia"):
        losses["kornia"] = (f"kornia {version('kornia')}", kornia_function)
    return losses


def closed_form(logit, target, gamma):
    """Return the focal loss of one pixel and its derivative in the logit, in float64."""
    sign, alpha_t = (1, ALPHA) if target else (-1, 1 - ALPHA)
    small = math.exp(-abs(logit))
    right = sign * logit >= 0
    entropy = math.log1p(small) + (0 if right else abs(logit))  # −log p_t
    near, far = 1 / (1 + small), small / (1 + small)
    p_t, missing = (near, far) if right else (far, near)
    modulating = alpha_t * missing**gamma
    return modulating * entropy, -sign * modulating * (gamma * p_t * entropy + missing)


def ask(loss, precision, gamma, logit, target, device="cpu"):
    """Return the loss and the gradient that a contender gives for each of some equal pixels, and the true ones."""
    x = torch.full((1, 1, 8, 8), logit, dtype=PRECISIONS[precision], device=device, requires_grad=True)
    t = torch.full_like(x, target, requires_grad=False)
    with torch.autocast(device, dtype=torch.bfloat16) if precision == "autocast" else nullcontext():
        value = loss(x, t, gamma)
    value.backward(torch.full_like(value, x.numel() / value.numel()))
    true_loss, true_gradient = closed_form(x[0, 0, 0, 0].item(), target, gamma)
    given = {"loss": value.flatten()[0].item(), "gradient": x.grad[0, 0, 0, 0].item()}
    return {**given, "true_loss": true_loss, "true_gradient": true_gradient}


def faults(answer, dtype):
    """Return the columns that an answer counts in."""
    pairs = [(answer["loss"], answer["true_loss"]), (answer["gradient"], answer["true_gradient"])]
    if not all(math.isfinite(given) for given, _ in pairs):
        return ["failed", "non-finite"]
    underflow = 2**-23 if dtype == torch.float16 else 1e-30
    apart = [(abs(given - true) - underflow, abs(true)) for given, true in pairs]
    holds = {
        "failed": any(error > (2 * torch.finfo(dtype).eps + 2e-5) * true for error, true in apart),
        "dead": answer["gradient"] == 0 and abs(answer["true_gradient"]) > MATTERS,
        "off by 10 %": any(error > 0.1 * true for error, true in apart),
        "and matters": any(error > 0.1 * true > 0.1 * MATTERS for error, true in apart),
    }
    return [column for column, is_so in holds.items() if is_so]


def in_words(answer):
    """Return one line of what was given and what is true."""
    return ", ".join(f"{name} {answer[name]:.4g} (true {answer['true_' + name]:.4g})" for name in ("loss", "gradient"))


def judge(name, loss, precision, device):
    """Return the counts of one contender in one precision, the γ with non-finite answers, and examples."""
    torch._dynamo.reset()  # every γ is compiled for itself, and the compiler gives up after eight
    counts, infinite, examples = dict.fromkeys(COLUMNS, 0), set(), {}
    for gamma, logit, target in itertools.product(GAMMAS, LOGITS, (1, 0)):
        answer = ask(loss, precision, gamma, logit, target, device)
        columns = faults(answer, PRECISIONS[precision])
        for column in columns:
            counts[column] += 1
            case = f"--ask {name} {precision} {gamma} {logit:g} {target}: {in_words(answer)}"
            examples.setdefault(column, []).append(case)
        if "non-finite" in columns:
            infinite.add(gamma)
    return {
        "cases": len(GAMMAS) * len(LOGITS) * 2,
        **counts,
        "non-finite at gamma": sorted(infinite),
        "examples": {column: cases[:EXAMPLES] for column, cases in examples.items()},
    }


def report(results):
    """Print a line for each contender and precision, then an example of each column."""
    print(f"{'':36}{'precision':>10}{'cases':>7}" + "".join(f"{column:>13}" for column in COLUMNS))
    for name, (source, precisions) in results.items():
        for precision, row in precisions.items():
            counts = "".join(f"{row[column]:13}" for column in COLUMNS)
            print(f"{name + ', ' + source:36}{precision:>10}{row['cases']:7}{counts}")
    print("\nThe first case of each kind:")
    for _, precisions in results.values():
        for column in COLUMNS[1:]:
            found = [row["examples"][column][0] for row in precisions.values() if column in row["examples"]]
            if found:
                print(f"{column:>12}  {found[0]}")


def commit():
    asked = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--exclude=*"], capture_output=True, text=True, check=False
    )
    return asked.stdout.strip() or "unknown"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("device", nargs="?", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--ask", nargs=5, metavar=("NAME", "PRECISION", "GAMMA", "LOGIT", "TARGET"), help="one case")
    return parser.parse_args()


def main():
    asked = arguments()
    device, losses = asked.device, contenders()
    if asked.ask:
        name, precision, *numbers = asked.ask
        print(in_words(ask(losses[name][1], precision, *map(float, numbers), device)))
        return
    results = {
        name: (source, {precision: judge(name, loss, precision, device) for precision in PRECISIONS})
        for name, (source, loss) in losses.items()
    }
    report(results)
    where = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    facts = {
        "date": str(date.today()),
        "machine": f"{platform.machine()}, {where}",
        "torch": torch.__version__,
        "command": " ".join(["python", *sys.argv]),
        "commit": commit(),
        "rows": {name: {"source": source, **rows} for name, (source, rows) in results.items()},
    }
    suffix = "" if device == "cpu" else f"_{device}"
    out = Path(__file__).parent / "results" / f"rivals_safety{suffix}.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
