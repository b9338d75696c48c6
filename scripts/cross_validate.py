"""python scripts/cross_validate.py: the same as `segfocal cross-validate`."""

import sys

from segfocal.cli.cross_validate import main

if __name__ == "__main__":  # the processes it starts load this file again
    sys.exit(main())
