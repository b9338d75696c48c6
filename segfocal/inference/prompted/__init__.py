"""Prompted inference: prompts on some slices answered and carried to the others.

Start with `propagation.py`; `prompt_file.py` reads prompts, `slice_model.py` answers one slice.
"""
