"""Medical image segmentation for small targets in big scans: focal losses, promptable models, NIfTI in and out.

For Python programs: `load`, `segment`, `train`, `losses`, `metrics`, `Model`, `Grid` and `Volume` are imported when
they are first asked for, so that `import segfocal` loads no torch. Their types are in `__init__.pyi`.
"""

__version__ = "0.1.0"

# Where each public name is. The names of packages below are modules themselves.
_PLACES = {
    "Grid": "segfocal.grid",
    "Model": "segfocal.interface.model",
    "Volume": "segfocal.grid",
    "load": "segfocal.interface.model",
    "segment": "segfocal.interface.model",
    "train": "segfocal.interface.training",
    "losses": "segfocal.losses",
    "metrics": "segfocal.metrics",
}
__all__ = ["Grid", "Model", "Volume", "__version__", "load", "losses", "metrics", "segment", "train"]


def __getattr__(name: str) -> object:
    """Import a public name where it is, on its first use."""
    from importlib import import_module

    if name not in _PLACES:
        raise AttributeError(f"module 'segfocal' has no attribute {name!r}")
    module = import_module(_PLACES[name])
    return module if module.__name__ == f"segfocal.{name}" else getattr(module, name)


def __dir__() -> list[str]:
    """Return the public names, also those that are not imported yet."""
    return sorted({*globals(), *_PLACES})
