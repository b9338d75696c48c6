"""Sampling: which slice or patch each training sample is, and the batches made of them.

Start with `dataset.py`; `slice_sampler.py` draws slices, `hard_examples.py` remembers losses.
"""
