"""From a labelled folder to training batches."""
