"""A server without a model: scans with reference and prediction of an evaluation, the worst first.

Start with `viewed_cases.py`, the cases and what is sent of each; `view_routes.py` is the door.
"""
