"""Evaluate masks by their references: metrics of each case, tables, pictures and one page.

Start with `evaluate.py`, the walk; `case_metrics.py` holds the metrics of one case.
"""
