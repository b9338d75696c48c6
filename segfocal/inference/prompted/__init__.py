"""Prompted inference: prompts on some slices answered and propagated to the others, or a box on every slice answered.

Start with `propagation.py`; `prompt_file.py` reads prompts, `scan_prompts.py` is what they become, `slice_model.py`
answers one slice.
"""
