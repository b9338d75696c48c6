"""The jobs behind `predict`, `evaluate` and `evaluate-prompts`: files in, files out."""
