"""Loading a transformers model that reads text, and its tokenizer: a local folder or a hub name, safetensors only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from transformers import AutoConfig, AutoTokenizer
from transformers.utils import logging

from potstill.models.engines.settings import TransformersEngine

_UNLIMITED = 2**30
"""Tokenizers without a limit give a number beyond this one."""
_USUAL = 512


def load_text_model(
    choose: Callable[[Any], Any], model: str, revision: str | None, device: str
) -> tuple[torch.nn.Module, Any, str]:
    """The model in float32 and in evaluation mode, its fast tokenizer, and the device it is on.

    ``choose`` names the class to load for a configuration. No code of the model's repository is run.
    """
    settings = TransformersEngine(model=model, revision=revision)
    folder = settings.path()
    name = str(folder) if folder else model
    where: dict[str, Any] = {"revision": revision or "main", "local_files_only": folder is not None}
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        config = AutoConfig.from_pretrained(name, **where)
        loaded = choose(config).from_pretrained(name, config=config, dtype="float32", use_safetensors=True, **where)
        tokenizer = AutoTokenizer.from_pretrained(name, **where)
    finally:
        if bars:
            logging.enable_progress_bar()
    return loaded.to(device).eval(), tokenizer, device


def longest(model: torch.nn.Module, tokenizer: Any, asked: int | None = None) -> int:
    """Most tokens, specials included, of one forward pass: what model, tokenizer and ``asked`` allow; else 512."""
    config: Any = model.config
    said = [asked, getattr(config.get_text_config(), "max_position_embeddings", None), tokenizer.model_max_length]
    limits = [limit for limit in said if limit and limit < _UNLIMITED]
    return min(limits, default=_USUAL)


def padded(rows: list[list[int]], filler: int, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids, padded on the right, and the attention mask; both int64, (rows, longest row)."""
    width = max(map(len, rows))
    ids = torch.tensor([row + [filler] * (width - len(row)) for row in rows], device=device)
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows], device=device)
    return ids, mask
