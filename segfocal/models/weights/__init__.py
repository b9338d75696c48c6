"""Weight files: read without running code, identified by their tensors, loaded into a model with a report.

Start with `loading.py`. `reading.py` opens a file, `identity.py` names its kind of model, `matching.py` pairs tensors
by name and shape. `salvage.py` takes the tensors out of files that hold other objects too.
"""

from segfocal.models.weights.fit_report import WeightsReport
from segfocal.models.weights.identity import Identity, identity_of
from segfocal.models.weights.loading import load_weights
from segfocal.models.weights.published import PUBLISHED, Published, cache_folder, published_weights
from segfocal.models.weights.reading import WeightFile, read
from segfocal.models.weights.salvage import salvage

__all__ = [
    "PUBLISHED",
    "Identity",
    "Published",
    "WeightFile",
    "WeightsReport",
    "cache_folder",
    "identity_of",
    "load_weights",
    "published_weights",
    "read",
    "salvage",
]
