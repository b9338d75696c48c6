"""The commands: from a Hydra config to objects, from errors to messages.

Start with `train.py` or `predict.py`, one file a command; `app.py` runs them all.
"""
