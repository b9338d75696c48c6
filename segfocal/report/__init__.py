"""What a person looks at: plots of numbers, pictures of cases and samples, HTML pages.

Start with `html.py`, the page maker; `plots.py` draws curves, `case_picture.py` scans with outlines.
"""
