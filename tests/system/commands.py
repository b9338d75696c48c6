"""Runs commands of segfocal in this process, and a small config that trains in seconds."""

import sys

from segfocal.cli.main import main

SMALL = [
    "model.width=48", "model.depth=1", "model.decoder_width=32", "data.window=[32,32]", "data.spacing_mm=[2,2]",
    "intensity=percentiles", "target=1", "train.batch_size=4",
]  # fmt: skip


def segfocal(monkeypatch, command, *options):
    """Run `segfocal COMMAND OPTIONS…` and return its exit code."""
    monkeypatch.setattr(sys, "argv", ["segfocal", command, *map(str, options)])
    return main()


def small_training(data, folder, *options):
    """Return the options of a small training run on the case list `data`, into `folder`."""
    return [
        "data=csv",
        f"data.root={data}",
        *SMALL,
        f"hydra.run.dir={folder}",
        f"cache={folder.parent}/prepared",
        *options,
    ]
