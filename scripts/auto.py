"""python scripts/auto.py: the same as `segfocal auto`."""

import sys

from segfocal.cli.auto import main

sys.exit(main())
