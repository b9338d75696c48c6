"""python scripts/evaluate_prompts.py: the same as `segfocal evaluate-prompts`."""

import sys

from segfocal.cli.evaluate_prompts import main

sys.exit(main())
