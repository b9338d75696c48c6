"""python scripts/export.py: the same as `segfocal export`."""

import sys

from segfocal.cli.export import main

sys.exit(main())
