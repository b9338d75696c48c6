"""Promptable models composed from segment-anything's parts.

Start with `promptable_model.py`; `vit.py`, `tiny.py` and `lite_medsam.py` are the models.
"""
