"""An error of a worker as one line, and whether another machine may do better."""

from __future__ import annotations

import traceback

from segfocal.errors import UserError
from segfocal.plain_text import visible


def in_one_line(error: BaseException) -> str:
    """Return what a person is told: a user's error as it is, any other as a fault of ours."""
    if isinstance(error, UserError):
        return str(error)
    return visible(f"a fault in segfocal: {''.join(traceback.format_exception_only(error)).strip()}", lines=False)


def is_of_the_machine(error: BaseException) -> bool:
    """Return whether an error may be the machine's and not the work's: of its disk, its memory, or unforeseen."""
    chain: BaseException | None = error
    while chain is not None:
        if isinstance(chain, MemoryError) or (isinstance(chain, OSError) and chain.errno is not None):
            return True
        chain = chain.__cause__ or chain.__context__
    return not isinstance(error, UserError)
