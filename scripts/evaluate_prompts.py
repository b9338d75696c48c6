"""python scripts/evaluate_prompts.py: the same as `segfocal evaluate-prompts`."""

import sys

from segfocal.cli.evaluate_prompts import main

if __name__ == "__main__":  # the processes it starts load this file again
    sys.exit(main())
