"""Files in and out, and nothing else.

Start with `volumes.py`, which knows formats by name; then `nifti/`, `dicom/`, `png.py`.
"""
