"""python scripts/fingerprint.py: the same as `segfocal fingerprint`."""

import sys

from segfocal.cli.fingerprint import main

if __name__ == "__main__":  # the processes it starts load this file again
    sys.exit(main())
