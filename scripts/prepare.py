"""python scripts/prepare.py: the same as `segfocal prepare`."""

import sys

from segfocal.cli.prepare import main

if __name__ == "__main__":  # the processes it starts load this file again
    sys.exit(main())
