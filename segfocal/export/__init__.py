"""Export: a bundle as files for other programs.

Start with `export.py`; `parity.py` checks the result against the model.
"""
