"""The training loop and what a run leaves behind.

Start with `loop.py`.
"""
