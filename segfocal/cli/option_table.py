"""What kind of value each option of the commands takes, apart from those that a constructor's annotations say."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_type_hints

from pydantic import AfterValidator, Field

Place = Annotated[str, AfterValidator(os.path.expanduser), "a path"]
Places = Place | list[Place]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1), "a whole number from 0 to 4294967295"]
Count = Annotated[int, Field(ge=1, le=10**6), "a whole number ≥ 1, at most a million"]
Sides = int | list[int]
Engine = Literal["auto", "torch", "openvino", "onnxruntime"]
Auto = Annotated[Literal["auto"], "auto"]
Group = Annotated[Mapping[str, Any], "a group of options, such as a file of conf holds"]

_EVERY: dict[str, Any] = {
    "overwrite": bool,
    "debug": bool,
    "imports": str | list[str],
    "cache": Place,
    "device": str,
    "seed": Seed,
    "intensity": Group,
}
_DATA: dict[str, Any] = {
    "data": Group,
    "data.root": Place,
    "data.label_names": Place | dict[Any, Any] | None,
    "data.ignore": int | str | None,
    "data.overlap": bool,
    "data.hold_out": float,
    "data.split_seed": Seed,
    "data.splits": Place | None,
    "data.folds": int | None,
    "data.fold": int,
    "data.group": str | None,
    "data.stratify": bool,
    "data.frame": str,
    "data.spacing_mm": Auto | float | list[float] | None,
    "data.size": Sides | None,
    "data.crop": Literal["none", "body"],
    "data.window": Auto | Sides,
    "data.neighbours": int,
    "data.margin": float,
    "data.foreground": float,
    "data.rare": float,
    "data.replay": float,
    "data.replay_every": int,
    "data.lesions": float,
    "data.lesion_edges": float | list[float] | None,
    "data.objects": int,
}
_WEIGHTS: dict[str, Any] = {
    "model": Group,
    "model.weights": Place | None,
    "weights": Group,
    "weights.allow": str | list[str],
    "weights.resize": bool,
}
_RUN: dict[str, Any] = {
    "train": Group,
    "loss": Group,
    "task": Group,
    "task.embeddings": Place | None,
    "augment": Group,
    "resume": Place | None,
}
_CLUSTER: dict[str, Any] = {
    "cluster": Group,
    "cluster.kind": Literal["none", "ray"],
    "cluster.address": str | None,
    "cluster.actors": Count | list[Count | None],
    "cluster.cpus": float,
    "cluster.gpus": float,
    "cluster.memory_gib": float | None,
    "cluster.retries": int,
    "cluster.case_minutes": float | None,
    "cluster.dashboard": bool,
}
_COMMANDS: dict[str, dict[str, Any]] = {
    "train": _DATA | _WEIGHTS | _RUN | _CLUSTER,
    "demo": _DATA | _WEIGHTS | _RUN | _CLUSTER,
    "cross_validate": _DATA | _WEIGHTS | _RUN | _CLUSTER | {"output": Place},
    "auto": _DATA | _WEIGHTS | _RUN | _CLUSTER | {"output": Place, "minutes": float, "fix": bool},
    "prepare": _CLUSTER | _DATA | {"workers": Count, "components": bool, "prune": bool},
    "show_augment": _DATA | {"augment": Group, "output": Place, "samples": Count, "step": int, "columns": Count},
    "fingerprint": _CLUSTER | _DATA | {"split": str, "far_mm": float, "workers": Count | None, "output": Place},
    "doctor": _CLUSTER
    | _DATA
    | {
        "output": Place | None,
        "modality": str,
        "fix": bool,
        "same_shape": bool,
        "strict": bool,
        "pictures": int,
        "workers": Count | None,
    },
    "predict": _CLUSTER
    | {
        "bundle": Places,
        "input": Places,
        "output": Place,
        "prompts": Place | None,
        "boxes": Place | None,
        "reference": Place | None,
        "session": Place | None,
        "embeddings": Place | None,
        "overlap": float,
        "batch_size": Count,
        "compile": bool,
        "engine": Engine,
        "probabilities": bool,
        "separate": bool,
        "part": str | None,
        "retry": bool,
    },
    "evaluate": _CLUSTER
    | {
        "prediction": Place,
        "reference": Place,
        "output": Place | None,
        "against": Place | None,
        "probabilities": Place | None,
        "image": Place | None,
        "pictures": int,
        "workers": Count | None,
    },
    "evaluate_prompts": _DATA
    | _WEIGHTS
    | {
        "bundle": Place | None,
        "split": str,
        "mask_prompt": bool,
        "box_jitter_pixels": float,
        "min_pixels": int,
        "batch_size": Count,
        "embeddings": Place | None,
        "engine": Engine,
        "volumes": bool,
    },
    "serve": {
        "bundle": Place,
        "input": Place | None,
        "output": Place,
        "session": Place,
        "host": str,
        "port": int,
        "key": str | None,
        "viewer_axes": str | None,
        "train": bool,
        "limits": Group,
        "limits.sessions": Count,
        "limits.idle_minutes": float,
        "limits.upload_mib": Count,
        "limits.waiting": Count,
        "overlap": float,
        "batch_size": Count,
        "engine": Engine,
    },
    "view": {"input": Place, "image": Place | None, "host": str, "port": int, "key": str | None},
    "export": {
        "bundle": Place,
        "output": Place,
        "scan": Places | None,
        "overlap": float,
        "tolerance": float,
    },
}


def kinds_of_options(command: str) -> dict[str, Any]:
    """Return the kind of each option of a command by its dotted name, those of groups after the group."""
    kinds = {**_EVERY, **_COMMANDS.get(command, {})}
    if "train" in kinds:
        from segfocal.engine.settings import TrainingSettings

        kinds |= {f"train.{name}": kind for name, kind in get_type_hints(TrainingSettings, include_extras=True).items()}
    return kinds
