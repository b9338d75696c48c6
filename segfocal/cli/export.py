"""`segfocal export`: a bundle in, files for other programs out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from segfocal.cli.app import demo_data, run, shown_path
from segfocal.cli.data_options import as_list
from segfocal.errors import UserError

_FORMATS = ("onnx", "openvino", "monai_bundle")


def main() -> int:
    """Run the command; return its exit code."""
    return run("export", export)


def export(config: DictConfig) -> None:
    """Export a bundle by a config and print how the result compares with the model."""
    from segfocal.export.export import ExportOptions
    from segfocal.export.export import export as export_bundle

    plain: Any = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    for handled in ("debug", "imports"):
        plain.pop(handled)
    _check(plain)
    paths = {key: Path(plain[key]) for key in ("bundle", "output")}
    given = [None] if plain["scan"] is None else as_list(plain["scan"])
    channels = {"scan": _scan(given[0]), "more": tuple(map(Path, given[1:]))}
    report = export_bundle(ExportOptions(**(plain | paths | channels)))
    dice = ", ".join(f"{name} {value:.4f}" for name, value in report["dice"].items())
    print(
        f"{shown_path(paths['output'].resolve())}: on {Path(report['scan']).name} logits within "
        f"{report['logit_difference']:.1e} of torch, Dice of the masks {dice} ({report['seconds']:.0f} s)"
    )


def _scan(given: str | None) -> Path:
    """Return the scan to compare on: the given one, or the demo's where this installation has it."""
    demo = Path(demo_data()) / "ct_b_image.nii.gz"
    if given is None and not demo.is_file():
        raise UserError(
            expected="a scan on which the exported network is compared with the model",
            found="scan=null, and no demo scan in this installation",
            do="add scan=FILE.nii.gz, a scan such as the model was trained on",
        )
    return demo if given is None else Path(given)


def _check(plain: dict[str, Any]) -> None:
    rules = {
        "format": (f"of {', '.join(_FORMATS)}", plain["format"] in _FORMATS),
        "overlap": ("in [0,1)", 0 <= plain["overlap"] < 1),
        "tolerance": ("> 0", plain["tolerance"] > 0),
        "scan": ("a path, a list of paths or null", plain["scan"] != []),
    }
    for name, (rule, holds) in rules.items():
        if not holds:
            raise UserError(expected=f"{name} {rule}", found=f"{name}={plain[name]}", do="change that option")
