"""python scripts/predict.py: the same as `segfocal predict`."""

import sys

from segfocal.cli.predict import main

if __name__ == "__main__":  # the processes it starts load this file again
    sys.exit(main())
