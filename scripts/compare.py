"""python scripts/compare.py: the same as `segfocal compare`."""

import sys

from segfocal.cli.compare import main

sys.exit(main())
