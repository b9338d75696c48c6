"""Cached embeddings: the same as fresh ones to float16, made once, and never those of another image or encoder."""

import os
import stat

import pytest
import torch

from segfocal.models import sam_tiny
from segfocal.models.embeddings import EmbeddingCache


@pytest.fixture
def model():
    torch.manual_seed(0)
    made = sam_tiny(image_size=32, width=48, decoder_width=32)
    made.image_encoder.requires_grad_(False)
    return made


def test_an_image_is_encoded_once_and_found_again_in_any_company(model, tmp_path):
    cache, images = EmbeddingCache(tmp_path, model), torch.rand(3, 1, 32, 32)
    with torch.no_grad():
        fresh = model.encode(images)
    for _ in range(2):
        kept = cache.encode(images)
        torch.testing.assert_close(kept.tokens, fresh.tokens, rtol=1e-3, atol=1e-3)
        for mine, other in zip(kept.details, fresh.details, strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-3)
    assert (cache.made, cache.found) == (3, 3)
    again = EmbeddingCache(tmp_path, model)
    torch.testing.assert_close(again.encode(images[[2, 0]]).tokens, kept.tokens[[2, 0]], rtol=0, atol=0)
    assert (again.made, again.found) == (0, 2)


def test_another_encoder_or_way_of_taking_images_finds_nothing(model, tmp_path):
    images = torch.rand(1, 1, 32, 32)
    EmbeddingCache(tmp_path, model).encode(images)
    model.pixel_mean += 0.1
    for _ in range(2):
        other = EmbeddingCache(tmp_path, model)
        other.encode(images)
        assert other.made == 1
        next(model.image_encoder.parameters()).data.add_(1e-3)


def test_a_damaged_file_is_made_again(model, tmp_path):
    cache, images = EmbeddingCache(tmp_path, model), torch.rand(1, 1, 32, 32)
    first = cache.encode(images)
    (file,) = cache.folder.glob("*.safetensors")
    file.write_bytes(b"half")
    torch.testing.assert_close(cache.encode(images).tokens, first.tokens)
    assert cache.made == 2
    assert [path.name for path in cache.folder.iterdir()] == [file.name]


def test_an_encoder_that_is_trained_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"model.freeze=\[image_encoder"):
        EmbeddingCache(tmp_path, sam_tiny(image_size=32, width=48, decoder_width=32))


def test_others_may_read_an_embedding_as_any_other_file(model, tmp_path):
    before = os.umask(0o022)
    try:
        cache = EmbeddingCache(tmp_path, model)
        cache.encode(torch.rand(1, 1, 32, 32))
    finally:
        os.umask(before)
    (file,) = cache.folder.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
