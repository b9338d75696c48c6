"""The protocol that 3D Slicer's and napari's nnInteractive plugins speak, answered by a bundle's model.

Start with `viewer_routes.py`, the calls in the order in which a viewer makes them; `viewer_session.py` is what one
viewer has, `packed_array.py` how arrays travel, `viewer_axes.py` how an array without an orientation is taken.
"""
