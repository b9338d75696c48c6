"""Doctor: what is wrong with a data set, and copies of it without what can be mended.

Start with `diagnose.py`. `checks.py` lists every check; the files ending in `_checks.py` make them.
"""
