"""How well a promptable model answers: no prompt, boxes, and click after click.

Start with `evaluate.py`; `protocol.py` says what is asked.
"""
