"""python scripts/doctor.py: the same as `segfocal doctor`."""

import sys

from segfocal.cli.doctor import main

sys.exit(main())
