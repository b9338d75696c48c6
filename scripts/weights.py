"""python scripts/weights.py: the same as `segfocal weights`."""

import sys

from segfocal.cli.weights import main

if __name__ == "__main__":  # the processes it starts load this file again
    sys.exit(main())
