"""From a labelled folder to training batches.

Start with `cases.py`; then `layouts/` reads folders, `store/` prepares cases, `sampling/` makes batches.
"""
