"""Predict: a bundle and scans in, masks on disk out.

Start with `predict.py`, one scan, which reads `options.py`; `many.py` does a folder of them.
"""
