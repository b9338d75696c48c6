"""Doctor: what is wrong with a data set, and copies of it without what can be mended.

Start with `diagnose.py`. `checks.py` lists every check; header, image, label and dataset checks have a file each.
"""
