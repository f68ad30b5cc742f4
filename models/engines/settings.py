"""Which chat engine a stage uses: settings that load nothing. Torch is imported only by ``build``."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import xxhash
from pydantic import Field

from potstill.config import RequestError, Settings
from potstill.models.engines.protocol import Engine

TINY = "tiny"
"""Name of the embedded chat model."""
TINY_FOLDER = Path(__file__).resolve().parent.parent / "tiny" / "chat"

WHOLE_FILE_BYTES = 64 * 2**20
"""Files up to this size enter a model's digest whole; larger ones by their size and :data:`SAMPLED_BLOCKS` blocks."""
SAMPLED_BLOCKS = 256
BLOCK_BYTES = 64 * 2**10
MODEL_FILES = (".safetensors", ".json", ".jinja", ".model", ".txt")
"""Endings of the files that decide what a model says."""

_loaded: dict[Settings, Engine] = {}
_loading = threading.Lock()


class TransformersEngine(Settings):
    """A model of the transformers library, batched in this process: for small models and CPUs, and as a reference."""

    kind: Literal["transformers"] = "transformers"
    model: str = Field(min_length=1)
    """``tiny`` (the embedded model), a local folder in the transformers format, or a model's name on the hub."""
    revision: str | None = None
    """Commit, tag or branch of a hub model. Pin a commit: the cache of columns does not see a branch move."""
    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?|mps)$")
    """``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``. ``auto`` takes a GPU if there is one."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Number format of the weights; ``auto`` is float32 on a CPU and the checkpoint's own elsewhere."""
    max_batch: int = Field(default=32, ge=1, le=4096)
    """Most requests in one forward pass."""
    max_model_len: int | None = Field(default=None, ge=8)
    """Most tokens of prompt and reply together; the model's own limit, unless this is lower."""
    threads: int | None = Field(default=None, ge=1, le=1024)
    """CPU threads of torch in this process; torch's choice, unless given."""

    def path(self) -> Path | None:
        """Folder of a local model; None for a hub model. Raises :class:`RequestError` for a folder that is missing."""
        folder = TINY_FOLDER if self.model == TINY else Path(self.model).expanduser()
        if folder.is_dir():
            if not (folder / "config.json").is_file():
                raise RequestError(f"engine model {self.model!r}: {folder} holds no config.json; give a model folder")
            return folder
        if self.model == TINY or self.model.startswith((".", "/", "~")) or self.model.count("/") > 1:
            raise RequestError(
                f"engine model {self.model!r}: there is no folder {folder}; give a local model folder or a hub name"
            )
        return None

    def identity(self) -> Mapping[str, Any]:
        """What the model's replies depend on: the digest of a local folder, or the name and revision on the hub."""
        folder = self.path()
        if folder is None:
            return {"model": self.model, "revision": self.revision or "main"}
        return {"model": self.model, "digest": folder_digest(folder)}

    def build(self) -> Engine:
        """The loaded engine. Equal settings give the same engine within a process."""
        with _loading:
            if self not in _loaded:
                from potstill.models.engines.transformers import load

                _loaded[self] = load(self)
            return _loaded[self]


EngineSettings = TransformersEngine
"""Settings of any engine; a union told apart by ``kind`` as soon as there is a second one."""


def folder_digest(folder: Path) -> str:
    """xxh3-128 over names and contents of a folder's model files, hex. Weights above 64 MiB are sampled."""
    digest = xxhash.xxh3_128()
    for path in sorted(path for path in folder.iterdir() if path.suffix in MODEL_FILES and path.is_file()):
        size = path.stat().st_size
        digest.update(f"{path.name}\0{size}\0".encode())
        with path.open("rb") as file:
            if size <= WHOLE_FILE_BYTES:
                digest.update(file.read())
                continue
            for block in range(SAMPLED_BLOCKS):
                file.seek((size - BLOCK_BYTES) * block // (SAMPLED_BLOCKS - 1))
                digest.update(file.read(BLOCK_BYTES))
    return digest.hexdigest()
