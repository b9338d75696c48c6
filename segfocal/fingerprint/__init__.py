"""Fingerprint: what labelled cases are like, and what is worth trying first.

Start with `measure.py`, the numbers; `suggestions.py` draws conclusions.
"""
