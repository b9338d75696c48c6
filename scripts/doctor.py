"""python scripts/doctor.py: the same as `segfocal doctor`."""

import sys

from segfocal.cli.doctor import main

if __name__ == "__main__":  # the processes it starts load this file again
    sys.exit(main())
