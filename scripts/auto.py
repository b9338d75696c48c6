"""python scripts/auto.py: the same as `segfocal auto`."""

import sys

from segfocal.cli.auto import main

if __name__ == "__main__":  # the processes it starts load this file again
    sys.exit(main())
