"""python scripts/cross_validate.py: the same as `segfocal cross-validate`."""

import sys

from segfocal.cli.cross_validate import main

sys.exit(main())
