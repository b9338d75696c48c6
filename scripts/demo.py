"""python scripts/demo.py: the same as `segfocal demo`."""

import sys

from segfocal.cli.demo import main

sys.exit(main())
