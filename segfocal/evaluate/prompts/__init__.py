"""Evaluate a promptable model: no prompt, boxes, and click after click.

Start with `evaluate.py`, the walk; `protocol.py` draws the prompts.
"""
