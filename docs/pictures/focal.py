"""Draws docs/pictures/focal.png, the focal loss and its gradient by γ, with the functions that training uses."""

from pathlib import Path

import torch
from matplotlib.figure import Figure

from segfocal.losses.focal import focal_of_margin

GAMMAS = {0.0: "#666666", 0.5: "#1f77b4", 1.0: "#1b9e77", 2.0: "#d95f02", 5.0: "#7b3294"}


def main():
    p_t = torch.linspace(0.002, 0.998, 500, dtype=torch.float64)
    margin = torch.linspace(-6, 6, 500, dtype=torch.float64, requires_grad=True)
    plot = Figure(figsize=(10, 3.8), layout="constrained", facecolor="white")
    loss, slope = plot.subplots(1, 2)
    for gamma, colour in GAMMAS.items():
        name = f"γ = {gamma:g}" + (" (cross-entropy)" if gamma == 0 else "")
        loss.plot(p_t, focal_of_margin(torch.logit(p_t), gamma), color=colour, label=name)
        (gradient,) = torch.autograd.grad(focal_of_margin(margin, gamma).sum(), margin)
        slope.plot(margin.detach(), -gradient, color=colour, label=name)
    loss.axvspan(0.5, 1, color="#00000008", linewidth=0)
    loss.text(0.75, 3.9, "well classified", ha="center", fontsize=9, color="#666666")
    loss.set(xlabel="p_t, probability of the true class", ylabel="loss of a pixel", xlim=(0, 1), ylim=(0, 5))
    slope.set(xlabel="margin, logit of the true class", ylabel="pull on the logit, −dFL/ds")
    slope.set(xlim=(-6, 6), ylim=(0, 1.6))
    loss.legend(frameon=False)
    for axis in (loss, slope):
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    plot.savefig(Path(__file__).with_suffix(".png"), dpi=110)


if __name__ == "__main__":
    main()
