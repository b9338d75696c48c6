"""Store: cases prepared once on disk, and where their foreground lies.

Start with `prepare.py`; `prepared_case.py` reads what it wrote.
"""
