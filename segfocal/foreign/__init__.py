"""JSON and YAML that others may have written: read as data within limits, checked by one schema a format.

Start with `door.py`; `schema.py` is what the models of the formats, each in its own room, are made of.
"""
