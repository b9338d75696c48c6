"""Runs of these tests draw no pictures, which take half of a short run: tests/system judges them."""

import pytest


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    nothing = lambda *_, **__: None  # noqa: E731
    for name in ("record.plots.draw_training", "record.plots.draw_loss_anatomy", "validate.draw_largest"):
        monkeypatch.setattr(f"segfocal.engine.{name}", nothing)
