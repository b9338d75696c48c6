"""python scripts/serve.py: the same as `segfocal serve`."""

import sys

from segfocal.cli.serve import main

if __name__ == "__main__":  # the processes it starts load this file again
    sys.exit(main())
