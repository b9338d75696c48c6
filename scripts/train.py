"""python scripts/train.py: the same as `segfocal train`."""

import sys

from segfocal.cli.train import main

if __name__ == "__main__":  # the processes it starts load this file again
    sys.exit(main())
