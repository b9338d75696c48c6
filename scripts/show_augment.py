"""python scripts/show_augment.py: the same as `segfocal show-augment`."""

import sys

from segfocal.cli.show_augment import main

sys.exit(main())
