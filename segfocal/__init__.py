"""Medical image segmentation for small targets in big scans: focal losses, promptable models, NIfTI in and out."""

__version__ = "0.1.0"
