"""python scripts/completion.py: the same as `segfocal completion`."""

import sys

from segfocal.cli.completion import main

if __name__ == "__main__":  # the processes it starts load this file again
    sys.exit(main())
