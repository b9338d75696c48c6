"""Classes of lesions by size: an edge begins the class above it."""

import numpy as np
import pytest

from segfocal.metrics import class_names, equivalent_diameter_mm, size_classes


def test_the_diameter_is_that_of_a_ball():
    assert equivalent_diameter_mm([0, 4 / 3 * np.pi, 4 / 3 * np.pi * 5**3]) == pytest.approx([0, 2, 10])


def test_an_edge_begins_the_class_above_it():
    assert size_classes([0.5, 8, 26.9, 27, 1000], (8, 27), "mm3").tolist() == [0, 1, 1, 2, 2]
    volumes = np.pi / 6 * np.array([4.99, 5, 9, 10, 30]) ** 3
    assert size_classes(volumes, (5, 10), "diameter_mm").tolist() == [0, 1, 1, 2, 2]
    assert size_classes([3 * 0.1 * 0.7 * 0.7], (0.147,), "mm3").tolist() == [1]  # 0.14699999999999996 in floats
    assert size_classes([1, 2], (), "mm3").tolist() == [0, 0]


def test_classes_are_named_with_their_unit():
    assert class_names((5, 10), "diameter_mm") == ["below 5 mm", "5 to 10 mm", "from 10 mm"]
    assert class_names((62.5,), "mm3") == ["below 62.5 mm³", "from 62.5 mm³"]
    assert class_names((), "mm3") == ["all"]
