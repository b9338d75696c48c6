"""Report: what a person looks at: plots, pictures of cases, HTML pages.

Start with `html.py`, the page maker; `plots.py` draws curves, `case_picture.py` scans with outlines.
"""
