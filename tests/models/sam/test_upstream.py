"""segment-anything's modules, imported without its package."""


def test_segment_anything_is_imported_without_torchvision():
    import sys

    assert "torchvision" not in sys.modules
    assert "segment_anything" not in sys.modules
