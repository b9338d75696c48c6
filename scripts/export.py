"""python scripts/export.py: the same as `segfocal export`."""

import sys

from segfocal.cli.export import main

if __name__ == "__main__":  # the processes it starts load this file again
    sys.exit(main())
