"""python scripts/view.py: the same as `segfocal view`."""

import sys

from segfocal.cli.view import main

if __name__ == "__main__":  # the processes it starts load this file again
    sys.exit(main())
