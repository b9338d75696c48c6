"""Sliding windows: a scan through a network, window by window, blended into finished slabs.

Start with `sweep.py`; `windows.py` says where windows stand, `model_input.py` makes what they see.
"""
