"""python scripts/evaluate.py: the same as `segfocal evaluate`."""

import sys

from segfocal.cli.evaluate import main

sys.exit(main())
