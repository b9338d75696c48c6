"""Four pixels whose focal loss, and where it comes from, one can do by hand."""

import math

import torch

# Two positives, p = .95 and .25, and two negatives, p = .1 and .8: p_t = .95, .25, .9, .2, the second and fourth hard.
P, T = [0.95, 0.25, 0.1, 0.8], [1, 1, 0, 0]


def four_pixels():
    """Return their logits and target, [1,1,2,2]."""
    p = torch.tensor(P, dtype=torch.float64)
    return torch.logit(p).reshape(1, 1, 2, 2), torch.tensor(T).reshape(1, 1, 2, 2)


def by_hand(gamma, positive_weight, negative_weight):
    """Return the anatomy of the focal loss of the four pixels."""
    p_t = [0.95, 0.25, 0.9, 0.2]
    modulating = [(1 - p) ** gamma for p in p_t]
    weights = [positive_weight] * 2 + [negative_weight] * 2
    costs = [-w * m * math.log(p) for w, m, p in zip(weights, modulating, p_t, strict=True)]
    return {
        "modulating": sum(modulating) / 4,
        "hard_share": (costs[1] + costs[3]) / sum(costs),
        "positive_share": (costs[0] + costs[1]) / sum(costs),
    }


def numbers(found):
    """Return scalars by name as plain numbers."""
    return {name: value.item() for name, value in found.items()}
