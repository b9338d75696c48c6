"""python scripts/show_augment.py: the same as `segfocal show-augment`."""

import sys

from segfocal.cli.show_augment import main

if __name__ == "__main__":  # the processes it starts load this file again
    sys.exit(main())
