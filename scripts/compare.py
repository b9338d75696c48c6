"""python scripts/compare.py: the same as `segfocal compare`."""

import sys

from segfocal.cli.compare import main

if __name__ == "__main__":  # the processes it starts load this file again
    sys.exit(main())
