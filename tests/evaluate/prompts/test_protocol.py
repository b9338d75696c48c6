"""The prompt protocol: what is out of range is refused."""

import pytest

from segfocal.evaluate.prompts.protocol import Protocol


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"prompts": []}, "prompts none, box"),
        ({"prompts": ["boxes"]}, "prompts none, box"),
        ({"prompts": ["box", "box"]}, "each once"),
        ({"prompts": [0]}, "clicks ≥ 1"),
        ({"prompts": [True]}, "clicks ≥ 1"),
        ({"first_click": "middle"}, "first_click uniform or central"),
        ({"click_at": "random"}, "click_at uniform or largest"),
        ({"mask_prompt": "yes"}, "mask_prompt true or false"),
        ({"box_jitter_pixels": -1}, "box_jitter_pixels ≥ 0"),
        ({"min_pixels": 0}, "min_pixels a whole number ≥ 1"),
        ({"seed": -1}, "seed a whole number ≥ 0"),
    ],
)
def test_a_protocol_out_of_range_is_told(options, words):
    with pytest.raises(ValueError, match=words):
        Protocol(**options)
