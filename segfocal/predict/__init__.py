"""Predict: a bundle and scans in, masks on disk out.

Start with `predict.py`, one scan; `many.py` does a folder of them.
"""
