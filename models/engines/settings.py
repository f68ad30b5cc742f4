"""Which chat engine a stage uses: settings that load nothing. Torch is imported only by ``build``."""

from __future__ import annotations

import json
import os
import threading
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

import xxhash
from pydantic import Field, field_validator

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

VLLM_ENVIRONMENT = {
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
}
"""What vLLM reads when it is imported; a variable that is set already stays."""

CHUNKS_IN_FLIGHT = 4
"""For engines that serve each request by itself: while one chunk is at its last rows, the others are not."""
LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Ranks for which vLLM makes room; an adapter takes the least that holds its own."""

_loaded: dict[Settings, Engine] = {}
_loading = threading.Lock()


class _Engine(Settings):
    """What the settings of all engines share."""

    speed: ClassVar[frozenset[str]] = frozenset()
    """Fields that change how fast replies come, and not the replies."""
    hooks: ClassVar[bool] = True
    """Whether the engine takes raw prompts, which Oasis needs."""
    sends: ClassVar[bool] = False
    """Whether images travel to a server, which their files spare to encode again."""
    chunks_in_flight: ClassVar[int] = 1
    """Chunks whose rows are asked at the same time, so that the engine has work while the last rows of one end. 1 where
    batches must follow from the requests of one chunk, not from what happens to be asked beside them."""

    @abstractmethod
    def identity(self) -> Mapping[str, Any]:
        """What the model's replies depend on beside these settings."""

    @abstractmethod
    def _load(self) -> Engine:
        """A newly loaded engine."""

    def build(self) -> Engine:
        """The loaded engine. Equal settings give the same engine within a process."""
        with _loading:
            if self not in _loaded:
                _loaded[self] = self._load()
            return _loaded[self]


class _LocalModel(_Engine):
    """An engine that loads weights."""

    model: str = Field(min_length=1)
    """``tiny`` (the embedded model), a local folder in the transformers format, or a model's name on the hub."""
    revision: str | None = None
    """Commit, tag or branch of a hub model. Pin a commit: the cache of columns does not see a branch move."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Number format of the weights; ``auto`` is float32 on a CPU and the checkpoint's own elsewhere."""
    max_model_len: int | None = Field(default=None, ge=8)
    """Most tokens of prompt and reply together; the model's own limit, unless this is lower."""

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
        """The digest of a local folder, or the name and revision on the hub."""
        folder = self.path()
        if folder is None:
            return {"model": self.model, "revision": self.revision or "main"}
        return {"model": self.model, "digest": folder_digest(folder)}


class TransformersEngine(_LocalModel):
    """A model of the transformers library, batched in this process: for small models and CPUs, and as a reference."""

    speed: ClassVar = frozenset({"threads", "max_batch"})

    kind: Literal["transformers"] = "transformers"
    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?|mps)$")
    """``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``. ``auto`` takes a GPU if there is one."""
    max_batch: int = Field(default=32, ge=1, le=4096)
    """Most requests in one forward pass."""
    threads: int | None = Field(default=None, ge=1, le=1024)
    """CPU threads of torch in this process; torch's choice, unless given."""

    def _load(self) -> Engine:
        from potstill.models.engines.transformers import load

        return load(self)


class VllmEngine(_LocalModel):
    """A model served by vLLM in processes of its own: continuous batching, prefix cache, several GPUs."""

    speed: ClassVar = frozenset({
        "max_num_seqs", "gpu_memory_utilization", "kv_cache_gib", "tensor_parallel_size", "enforce_eager", "max_images",
    })  # fmt: skip
    chunks_in_flight: ClassVar = CHUNKS_IN_FLIGHT

    kind: Literal["vllm"] = "vllm"
    lora: str | None = None
    """Folder of a LoRA adapter in peft's format, which the model answers with."""
    max_num_seqs: int = Field(default=256, ge=1, le=8192)
    """Most requests computed at the same time."""
    gpu_memory_utilization: float = Field(default=0.9, gt=0, le=1)
    """Share of the device's memory for weights and KV cache together."""
    kv_cache_gib: float | None = Field(default=None, gt=0)
    """GiB of the KV cache, instead of what ``gpu_memory_utilization`` leaves. Set it on a CPU."""
    tensor_parallel_size: int = Field(default=1, ge=1, le=64)
    """GPUs that share the model; the stage's ``num_gpus`` must grant as many."""
    enforce_eager: bool = False
    """Neither compile nor capture graphs: starts sooner, answers slower."""
    max_images: int = Field(default=1, ge=1, le=256)
    """Most images in one request."""

    def adapter(self) -> tuple[Path, int] | None:
        """Folder of the adapter and the rank to make room for. Raises :class:`RequestError` for one that cannot be."""
        if self.lora is None:
            return None
        folder = Path(self.lora).expanduser().resolve()
        missing = [
            name for name in ("adapter_config.json", "adapter_model.safetensors") if not (folder / name).is_file()
        ]
        if missing:
            raise RequestError(
                f"engine lora {self.lora!r}: no {' and no '.join(missing)} in {folder}; give the folder of an adapter "
                "saved by peft with safetensors"
            )
        rank = json.loads((folder / "adapter_config.json").read_bytes()).get("r")
        room = next((most for most in LORA_RANKS if isinstance(rank, int) and 0 < rank <= most), None)
        if room is None:
            raise RequestError(f"engine lora {self.lora!r}: rank {rank!r} is none from 1 to {LORA_RANKS[-1]}")
        return folder, room

    def identity(self) -> Mapping[str, Any]:
        """The model, and the digest of the adapter."""
        adapter = self.adapter()
        return {**super().identity(), **({"lora": folder_digest(adapter[0])} if adapter else {})}

    def _load(self) -> Engine:
        for name, value in VLLM_ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        from potstill.models.engines.vllm import load

        return load(self)


class OpenaiEngine(_Engine):
    """A chat model behind a server that speaks OpenAI's protocol."""

    speed: ClassVar = frozenset({"api_key_env", "max_in_flight", "requests_per_second", "timeout_s", "tries"})
    hooks: ClassVar = False
    sends: ClassVar = True
    chunks_in_flight: ClassVar = CHUNKS_IN_FLIGHT

    kind: Literal["openai"] = "openai"
    base_url: str
    """Address up to and with ``/v1``; no part of it is secret."""
    model: str = Field(min_length=1)
    """The model's name on the server."""
    server: Literal["openai", "vllm"] = "openai"
    """``vllm`` also takes top-k, a least number of tokens, ``choices`` and patterns; ``openai`` refuses them."""
    api_key_env: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    """Name of the environment variable with the key, read on the worker."""
    max_in_flight: int = Field(default=32, ge=1, le=4096)
    """Most requests under way at the same time, in one worker."""
    requests_per_second: float | None = Field(default=None, gt=0)
    """Most requests sent per second by one worker, second tries included."""
    timeout_s: float = Field(default=300, gt=0)
    """Seconds until an attempt counts as failed."""
    tries: int = Field(default=5, ge=1, le=20)
    """How often a request is sent when the connection fails or the server is busy (408, 429, 5xx)."""

    @field_validator("base_url")
    @classmethod
    def _is_plain(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("the address must begin with http:// or https:// and name a host")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("the address must hold neither a key nor a query; name the key's variable in api_key_env")
        return value.rstrip("/")

    def identity(self) -> Mapping[str, Any]:
        """Nothing more: what a server has behind a model's name cannot be seen from here."""
        return {}

    def _load(self) -> Engine:
        from potstill.models.engines.openai import load

        return load(self)


EngineSettings = Annotated[TransformersEngine | VllmEngine | OpenaiEngine, Field(discriminator="kind")]
"""Settings of any engine, told apart by ``kind``."""
SPEED = TransformersEngine.speed | VllmEngine.speed | OpenaiEngine.speed
"""Fields of engine settings that leave the cache of columns alone."""


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
