"""python scripts/train.py: the same as `segfocal train`."""

import sys

from segfocal.cli.train import main

sys.exit(main())
