"""python scripts/prepare.py: the same as `segfocal prepare`."""

import sys

from segfocal.cli.prepare import main

sys.exit(main())
