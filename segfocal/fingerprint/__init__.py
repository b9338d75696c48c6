"""Fingerprint: what labelled cases are like, and what is worth trying first.

Start with `measure.py`, the numbers of a case; `summary.py` joins them; then `suggestions.py`; `page.py` writes them.
"""
