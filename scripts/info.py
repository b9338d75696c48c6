"""python scripts/info.py: the same as `segfocal info`."""

import sys

from segfocal.cli.info import main

if __name__ == "__main__":  # the processes it starts load this file again
    sys.exit(main())
