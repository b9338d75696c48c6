"""Evaluate a promptable model: no prompt, boxes, and click after click.

Start with `evaluate.py`; `protocol.py` says which prompts are drawn and how.
"""
