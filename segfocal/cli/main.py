"""The console script `segfocal`: the same commands as scripts/*.py."""

from __future__ import annotations

import sys
from importlib import import_module

from segfocal import __version__

COMMANDS = {
    "prepare": "read, resample and store the training scans ahead of training",
    "train": "train a model on labelled scans",
    "auto": "find a recipe for a folder of scans, train it in the minutes given, say what to expect",
    "cross-validate": "train a model for each fold, judge every case by one that never saw it, keep them as one bundle",
    "predict": "segment a scan with a trained bundle",
    "serve": "look at scans, click and correct: a page in the browser, and the protocol of viewers",
    "view": "look at an evaluation, the worst cases first: scan, reference and prediction in the browser",
    "evaluate": "compare masks with their references, and predictions with each other",
    "evaluate-prompts": "ask a promptable model with boxes and clicks and score its answers",
    "export": "write a bundle for other programs: ONNX, OpenVINO, MONAI",
    "show-augment": "draw a batch of training samples, as read and as augmented",
    "compare": "compare runs: a table, plots and one HTML page",
    "weights": "get, convert or show weight files of promptable models, or make a bundle of one",
    "doctor": "say what is wrong with a data set, and mend copies of it",
    "fingerprint": "say how imbalanced a data set is, and suggest a sweep for it",
    "info": "say what is installed: versions, devices, engines, extras, and what caches take",
    "completion": "print what makes bash or zsh complete commands and options",
    "demo": "train, predict and evaluate on the demo scans, and write one HTML page",
}


def main() -> int:
    """Run the command named first on the command line with the rest as its options; return the exit code."""
    command = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if command in ("-h", "--help"):
        print(_help())
        return 0
    if command == "--version":
        print(f"segfocal {__version__}")
        return 0
    if command not in COMMANDS:
        from segfocal.plain_text import nearest, visible

        near = nearest(command, COMMANDS)
        meant = f" Did you mean {near}?" if near else ""
        found = visible(command, lines=False)
        print(f"error: expected a command of {', '.join(COMMANDS)}; found {found}.{meant}", file=sys.stderr)
        return 2
    sys.argv = [f"segfocal {command}", *sys.argv[2:]]
    return import_module(f"segfocal.cli.{command.replace('-', '_')}").main()


def _help() -> str:
    lines = [f"segfocal {__version__}: medical image segmentation for small targets in big scans", ""]
    lines += [f"  segfocal {name:<18}{text}" for name, text in COMMANDS.items()]
    return "\n".join(
        [*lines, "", "Options are key=value (compare and weights take paths); segfocal COMMAND --help lists them."]
    )


if __name__ == "__main__":
    sys.exit(main())
