"""Published weights: where they are kept, and what is said of those that are not there."""

import pytest

from segfocal.models.weights import PUBLISHED, cache_folder, published_weights, read
from segfocal.models.weights.published import cached_at, digest_of
from tests.models.weights.small_sam import refusal


def test_the_cache_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.delenv("SEGFOCAL_WEIGHTS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "segfocal" / "weights"
    monkeypatch.setenv("SEGFOCAL_WEIGHTS", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"


@pytest.mark.parametrize(
    ("name", "says"), [("sam_vit_q", "published weights of lite_medsam"), ("lite_medsam", "weights get lite_medsam")]
)
def test_weights_that_are_not_there_are_refused_and_never_fetched(name, says, monkeypatch, tmp_path):
    monkeypatch.setenv("SEGFOCAL_WEIGHTS", str(tmp_path))
    assert says in refusal(published_weights, name)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not cached_at("lite_medsam").is_file(), reason="no weights: run segfocal weights get lite_medsam")
def test_the_known_digest_is_that_of_the_published_file():
    assert digest_of(read(cached_at("lite_medsam")).tensors) == PUBLISHED["lite_medsam"].digest
