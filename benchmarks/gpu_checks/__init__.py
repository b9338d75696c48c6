"""The parts of `python benchmarks/gpu.py`, each a few functions `(device, budget) -> rows`.

Start with `budget.py`; `gpu.py` lists the parts.
"""
