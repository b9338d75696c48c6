"""The device and the precision that a setting names."""

import pytest
import torch

from segfocal.device import choose_device, quick_precision
from segfocal.errors import UserError


@pytest.mark.parametrize(
    ("has", "precision"),
    [
        ({"avx512_bf16": True, "amx_bf16": False}, "bf16"),
        ({"amx_bf16": True}, "bf16"),
        ({"avx512_bf16": False, "avx2": True}, "fp32"),
        ({}, "fp32"),
    ],
)
def test_a_processor_computes_in_bf16_where_it_multiplies_it_in_hardware(has, precision, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has, raising=False)
    assert quick_precision(torch.device("cpu")) == precision


def test_where_torch_does_not_know_the_processor_it_computes_in_fp32(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert quick_precision(torch.device("cpu")) == "fp32"


@pytest.mark.parametrize("name", ["gpu", "cuda:x"])
def test_a_device_that_is_none_is_refused(name):
    with pytest.raises(UserError, match="device"):
        choose_device(name)
