"""Evaluate: masks and their references in; metrics, tables and one page out.

Start with `evaluate.py`; `case_metrics.py` judges one case.
"""
