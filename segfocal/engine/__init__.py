"""Training and what a run leaves behind: `train.py` makes ready, trains and finishes.

Start with `loop.py`.
"""
