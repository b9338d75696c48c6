"""Small masks to draw prompts from."""

import torch


def generator():
    return torch.Generator().manual_seed(0)


def blobs(count=6, size=(23, 31)):
    """Return random masks [count,h,w] of several components each, the last one empty."""
    noise = torch.rand(count, *size, generator=generator())
    out = torch.nn.functional.avg_pool2d(noise[:, None], 3, stride=1, padding=1)[:, 0] > 0.55
    out[-1] = False
    return out


def mask(*pixels, size=(7, 9)):
    out = torch.zeros(1, 1, *size, dtype=torch.uint8)
    for y, x in pixels:
        out[0, 0, y, x] = 1
    return out
