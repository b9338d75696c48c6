"""`segfocal info`: what is installed here, what runs networks, and what caches take; for a report of a fault, too."""

from __future__ import annotations

import argparse
import os
import platform
import re
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import segfocal
from segfocal.cli.app import run_plainly, shown_path
from segfocal.memory import available_bytes
from segfocal.plain_text import visible

_SHOWN = ("torch", "monai", "numpy", "nibabel", "accelerate", "hydra-core")
_ENGINES = {"openvino": "cpu", "onnxruntime": "export"}  # and the extra that installs each
_CACHES = {
    Path("runs/prepared"): "prepared scans",
    Path("runs/prompted"): "answers to prompts",
}  # of commands run from this folder, unless told otherwise
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def main() -> int:
    """Run the command; return its exit code."""
    argparse.ArgumentParser(prog="segfocal info", description=__doc__).parse_args()
    return run_plainly(_print)


def _print() -> None:
    for name, text in lines():
        print(visible(f"{name + ':':<12}{text}", lines=False))


def lines() -> Iterator[tuple[str, str]]:
    """Yield what there is, each as a title and a text."""
    yield "segfocal", f"{segfocal.__version__} in {Path(segfocal.__file__).parent}"
    yield "Python", f"{platform.python_version()} on {platform.platform()}"
    yield "packages", ", ".join(f"{name} {version_of(name) or 'missing'}" for name in _SHOWN)
    yield "CPU", f"{os.cpu_count()} cores, {size_words(available_bytes())} of memory free"
    yield from (("GPU", text) for text in _gpus())
    yield "engines", ", ".join(["torch", *(_engine(name, extra) for name, extra in _ENGINES.items())])
    yield from (("extra", f"{name}: {text}") for name, text in extras().items())
    for folder, what in _caches().items():
        yield "cache", f"{shown_path(folder)}: {what}, {size_words(bytes_in(folder))}"


def version_of(name: str) -> str | None:
    """Return the version of a package that is installed, None of another."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _gpus() -> list[str]:
    import torch

    if not torch.cuda.is_available():
        return [f"none that torch sees (built for CUDA {torch.version.cuda})" if torch.version.cuda else "none"]
    found = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
    return [f"{one.name}, {size_words(one.total_memory)}, CUDA {torch.version.cuda}" for one in found]


def _engine(name: str, extra: str) -> str:
    version = version_of(name)
    return f"{name} {version}" if version else f"{name} (not installed: extra {extra})"


def extras() -> dict[str, str]:
    """Return the extras of the package, each with what it lacks or "installed"; none without a package's record."""
    needed: dict[str, list[str]] = {}
    try:
        required = metadata.requires("segfocal") or []
    except metadata.PackageNotFoundError:
        return {}
    for text in required:
        name, extra = re.match(r"[\w.-]+", text), re.search(r"""extra == ['"]([^'"]+)""", text)
        if name and extra and name[0] != "segfocal":
            needed.setdefault(extra[1], []).append(name[0])
    missing = {extra: [name for name in names if version_of(name) is None] for extra, names in needed.items()}
    return {extra: f"without {', '.join(names)}" if names else "installed" for extra, names in missing.items()}


def _caches() -> dict[Path, str]:
    from segfocal.models.weights.published import user_cache

    own = user_cache("")
    return {folder.absolute(): what for folder, what in _CACHES.items()} | {own: "converted networks and weights"}


def bytes_in(folder: Path) -> int:
    """Return the bytes of all files in a folder and below; 0 where there is none."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_size
            except OSError:  # gone meanwhile
                continue
    return total


def size_words(count: float) -> str:
    """Return a number of bytes with three digits and its unit: 1.5 GiB."""
    power = 0
    while count >= 1000 and power < len(_UNITS) - 1:
        count, power = count / 1024, power + 1
    return f"{count:.3g} {_UNITS[power]}"
