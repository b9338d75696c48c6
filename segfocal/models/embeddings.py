"""Caches the embeddings of images on disk, so that a frozen encoder runs once for each image."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from segfocal.files import written_beside
from segfocal.models.sam.image_embedding import Embedding
from segfocal.models.sam.promptable_model import PromptableModel

_TOKENS, _DETAIL = "tokens", "detail_{}"


class EmbeddingCache:
    """Encodes images, and keeps one file of embeddings for each image in a folder.

    A file's name is a hash of the image's bytes, in a folder named by a hash of the encoder: its weights, buffers and
    preprocessing options. Another image or encoder therefore has another name. A file that cannot be read is made
    again. Embeddings are kept in float16, which moves them by 5e-4 of their size at most (2 MiB for 256 channels at
    64×64).

    Args:
        folder: shared by any number of runs and processes.
        model: whose encoder is frozen while the cache is in use; it runs in evaluation mode and without gradients.

    Raises:
        ValueError: an encoder with parameters that are trained.
    """

    def __init__(self, folder: Path, model: PromptableModel) -> None:
        trained = [name for name, p in model.image_encoder.named_parameters() if p.requires_grad]
        if trained:
            raise ValueError(
                f"expected a frozen image encoder for cached embeddings; got {len(trained)} trained parameters, as "
                f"{trained[0]}: set model.freeze=[image_encoder.*]"
            )
        self.model = model
        self.folder = folder / _encoder_hash(model)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.found = self.made = 0

    def encode(self, image: Tensor) -> Embedding:
        """Return the embeddings of images [b,c,h,w] in [0,1], from disk where they are known."""
        places = [self.folder / f"{_hash([row])}.safetensors" for row in image.detach().cpu()]
        known = [_read(place) for place in places]
        missing = [index for index, parts in enumerate(known) if parts is None]
        self.found, self.made = self.found + len(known) - len(missing), self.made + len(missing)
        if missing:
            made = self._made(image[missing])
            for row, index in enumerate(missing):
                known[index] = {name: value[row] for name, value in made.items()}
                _write(places[index], known[index] or {})
        rows = [parts for parts in known if parts is not None]
        stacked = {name: torch.stack([row[name].float() for row in rows]).to(image.device) for name in rows[0]}
        details = tuple(stacked[_DETAIL.format(place)] for place in range(len(stacked) - 1))
        return Embedding(tokens=stacked[_TOKENS], details=details)

    def _made(self, image: Tensor) -> dict[str, Tensor]:
        encoder = self.model.image_encoder
        training = encoder.training
        encoder.eval()
        with torch.no_grad():
            made = self.model.encode(image)
        encoder.train(training)
        parts = {_TOKENS: made.tokens} | {_DETAIL.format(place): part for place, part in enumerate(made.details)}
        return {name: part.to("cpu", torch.float16) for name, part in parts.items()}


def _encoder_hash(model: PromptableModel) -> str:
    """Return a hash of everything besides the image that its embedding depends on."""
    state = model.image_encoder.state_dict()
    about = [repr((key, tuple(value.shape), value.dtype)) for key, value in state.items()]
    about += [repr((model.image_size, model.channel_order))]
    ways = [torch.as_tensor(value, dtype=torch.float64) for value in (model.pixel_mean, model.pixel_std)]
    return _hash([*state.values(), *ways], about)


def _hash(tensors: list[Tensor], words: list[str] | tuple[str, ...] = ()) -> str:
    total = hashlib.blake2b(digest_size=16)
    for word in words:
        total.update(word.encode())
    for tensor in tensors:
        total.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return total.hexdigest()


def _read(path: Path) -> dict[str, Tensor] | None:
    try:
        return load_file(path)
    except (OSError, SafetensorError):
        return None


def _write(path: Path, parts: dict[str, Tensor]) -> None:
    """Write a file whole, so that another process never reads half of one."""
    with written_beside(path) as temporary:
        save_file({name: part.contiguous() for name, part in parts.items()}, temporary)
