"""From a scan and a model to a mask."""
