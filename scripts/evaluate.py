"""python scripts/evaluate.py: the same as `segfocal evaluate`."""

import sys

from segfocal.cli.evaluate import main

if __name__ == "__main__":  # the processes it starts load this file again
    sys.exit(main())
