"""python scripts/weights.py: the same as `segfocal weights`."""

import sys

from segfocal.cli.weights import main

sys.exit(main())
