"""Compare: finished runs side by side.

Start with `runs.py`, which reads them; `ranking.py` orders them; `page.py` writes it down.
"""
