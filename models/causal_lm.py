"""How surprised a causal language model is by texts, in bits. Long texts go in overlapping windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING

from potstill.models.text_loading import load_text_model, longest, padded

LOGITS = 2**27
"""Most logits of one forward pass, 512 MiB in float32: with a large vocabulary a batch has fewer rows than asked."""


class CausalLm:
    """A loaded model: any causal language model, or the language model of one that also takes images."""

    def __init__(
        self, model: str, revision: str | None = None, device: str = "auto", window: int | None = None
    ) -> None:
        self._model, self._tokenizer, self._device = load_text_model(_model_class, model, revision, device)
        config: Any = self._model.config
        self._vocabulary = config.get_text_config().vocab_size
        self._window = longest(self._model, self._tokenizer, window)
        starts = (self._tokenizer.bos_token_id, self._tokenizer.eos_token_id)
        known = [int(token) for token in starts if token is not None]
        if not known:
            raise ValueError(
                f"the tokenizer of {model!r} has neither a token that begins a text nor one that ends it, so the first "
                "token of a text has no probability; set bos_token in its tokenizer_config.json"
            )
        self._start = known[0]

    def bits(self, texts: Sequence[str], batch_size: int) -> tuple[np.ndarray, np.ndarray]:
        """Bits of each text, minus the base-2 logarithm of its probability, as float64, and its tokens as int64.

        The text follows the model's beginning of a text. A text longer than the window is read in windows that overlap
        by half; a token is scored in the first window that holds it, so it is preceded by half a window at least.
        """
        counts = np.zeros(len(texts), np.int64)
        pieces: list[tuple[int, list[int], int]] = []
        for owner, text in enumerate(texts):
            ids = self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
            counts[owner] = len(ids)
            pieces += [(owner, *window) for window in windows([self._start, *ids], self._window)]
        pieces.sort(key=lambda piece: len(piece[1]))
        total = np.zeros(len(texts), np.float64)
        while pieces:
            rows = max(1, min(batch_size, LOGITS // (len(pieces[-1][1]) * self._vocabulary)))
            part = pieces[-rows:]
            del pieces[-rows:]
            scored = self._forward([ids for _, ids, _ in part], [first for _, _, first in part])
            np.add.at(total, [owner for owner, _, _ in part], scored)
        return total, counts

    @torch.inference_mode()
    def _forward(self, rows: list[list[int]], first: list[int]) -> np.ndarray:
        """Bits of the tokens from position ``first`` (1 at least) of each row on."""
        ids, mask = padded(rows, self._start, self._device)
        logits = self._model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1]
        told = logits.gather(2, ids[:, 1:, None])[..., 0].float() - torch.logsumexp(logits.float(), dim=-1)
        counted = mask[:, 1:].bool() & (
            torch.arange(1, ids.shape[1], device=self._device) >= torch.tensor(first, device=self._device)[:, None]
        )
        return -(told * counted).double().sum(1).cpu().numpy() / np.log(2)


def windows(ids: Sequence[int], size: int) -> list[tuple[list[int], int]]:
    """Parts of a row of token ids of at most ``size`` (2 at least), each with the position from which it is new.

    Parts start every ``size // 2``; position 0 of the row, the beginning of the text, is never new.
    """
    parts = [(list(ids[:size]), 1)]
    start = 0
    while start + size < len(ids):
        start += size // 2
        parts.append((list(ids[start : start + size]), size - size // 2))
    return parts if len(ids) > 1 else []


def _model_class(config: Any) -> Any:
    sees = type(config) in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING
    return AutoModelForImageTextToText if sees else AutoModelForCausalLM
