"""python scripts/predict.py: the same as `segfocal predict`."""

import sys

from segfocal.cli.predict import main

sys.exit(main())
