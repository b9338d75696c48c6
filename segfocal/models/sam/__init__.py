"""Promptable models composed from segment-anything's parts."""
