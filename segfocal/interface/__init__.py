"""The Python interface: what the commands do, for programs and notebooks, by the same code.

Start with `model.py`: a bundle, loaded once, that segments scans; `training.py` trains, `evaluation.py` judges masks.
"""
