"""python scripts/demo.py: the same as `segfocal demo`."""

import sys

from segfocal.cli.demo import main

if __name__ == "__main__":  # the processes it starts load this file again
    sys.exit(main())
