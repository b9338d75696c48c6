"""The jobs behind `predict` and `evaluate`: files in, files out."""
