"""Cross-validation: a model for each fold, every case predicted by one that never saw it, the models kept together.

Start with `cross_validate.py`; `operating_point.py` chooses thresholds, `results.py` writes what comes of it.
"""
