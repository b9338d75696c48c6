"""Promptable models composed from segment-anything's parts.

Start with `promptable_model.py`, the interface of all, and `sam_model.py`; `variants.py` is the table of published
models, `tiny.py` a small one of our own.
"""
