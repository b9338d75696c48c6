"""From a scan and a model to logits and a label map on the scan's own grid.

Start with `segment.py`; then `sliding/` for windows, `prompted/` for prompts, `bundle.py` for what a model needs.
"""
