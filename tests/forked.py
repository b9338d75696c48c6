"""Runs work in a fork of this process, where nothing need be loaded again: killed in the middle, or without rights."""

import ctypes
import multiprocessing
import os
import signal
import sys
from importlib import import_module
from types import SimpleNamespace

import torch

_PATIENCE = 120  # seconds
_PR_SET_SECUREBITS, _NO_ROOT = 28, 1  # linux/prctl.h, linux/securebits.h: nor do programs that it starts get them back
_VERSION_3 = 0x20080522  # linux/capability.h


def run_forked(work, *arguments):
    """Run `work` in a fork of this process and return its exit code, of one that was killed -9."""
    process = multiprocessing.get_context("fork").Process(target=_alone, args=(work, *arguments))
    process.start()
    process.join(_PATIENCE)
    if process.is_alive():
        process.kill()
    process.join()
    return process.exitcode


def _alone(work, *arguments):
    torch.set_num_threads(1)  # the threads of the parent are not in its fork
    work(*arguments)


def run_command(folder, command, scratch, *, first=lambda: None):
    """Run a command of segfocal in a fork; return its exit code and what it printed.

    folder: the working folder.
    command: its name, as that of the module in segfocal/cli, and its options.
    scratch: a folder for what is printed.
    first: called in the fork before the command.
    """
    said = [scratch / name for name in ("stdout", "stderr")]
    code = run_forked(_command, folder, command, said, first)
    stdout, stderr = (file.read_text() for file in said)
    return SimpleNamespace(returncode=code, stdout=stdout, stderr=stderr)


def _command(folder, command, said, first):
    for number, file in enumerate(said, start=1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", closefd=False) for number in (1, 2))
    os.environ["HOME"] = "/proc/none"
    first()
    os.chdir(folder)
    name, *options = command
    sys.argv = [f"segfocal {name}", *map(str, options)]
    try:
        code = import_module(f"segfocal.cli.{name}").main()
    except SystemExit as error:
        code = error.code
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code or 0)


def die_before(left, *names):
    """Kill this process before it calls one of os's functions of these names once more than `left` times."""

    def counted(real):
        def call(*arguments, **options):
            nonlocal left
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1
            return real(*arguments, **options)

        return call

    for name in names:
        setattr(os, name, counted(getattr(os, name)))


def give_up_rights():
    """Let go of every capability, in this process and those that it starts.

    Root may write anywhere. Without its capabilities it is a user as any other, to whom a file of another user's is
    just that; a change to a user who owns nothing would need a Python that such a user may read, as in /root is none.
    """
    if os.getuid() != 0:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header, none = (ctypes.c_uint32 * 2)(_VERSION_3, 0), (ctypes.c_uint32 * 6)()
    if libc.prctl(_PR_SET_SECUREBITS, _NO_ROOT, 0, 0, 0) or libc.capset(header, none):
        raise OSError(ctypes.get_errno(), "capabilities stay")


def can_give_up_rights():
    """Return whether this process has none to give up, or is one that can."""
    return os.getuid() != 0 or sys.platform == "linux"
