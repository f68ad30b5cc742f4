"""Probabilities of labels for texts, by any sequence-classification model of transformers. Long texts go in windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForSequenceClassification

from potstill.models.text_loading import load_text_model, longest, padded


class TextClassifier:
    """A loaded classifier; ``labels`` are its names in the order of the columns of :meth:`probabilities`."""

    def __init__(self, model: str, revision: str | None = None, device: str = "auto") -> None:
        self._model, self._tokenizer, self._device = load_text_model(
            lambda _: AutoModelForSequenceClassification, model, revision, device
        )
        config: Any = self._model.config
        self.labels: tuple[str, ...] = tuple(config.id2label[index] for index in range(config.num_labels))
        self._each = config.problem_type == "multi_label_classification" or config.num_labels == 1
        """Labels do not exclude each other: each has a probability of its own."""
        self._window = longest(self._model, self._tokenizer)

    def columns(self, labels: Sequence[str]) -> list[int]:
        """Where each label stands. Raises ``ValueError`` that lists the labels there are."""
        missing = [label for label in labels if label not in self.labels]
        if missing:
            raise ValueError(f"the model has no label {missing[0]!r}; labels: {', '.join(self.labels)}")
        return [self.labels.index(label) for label in labels]

    def probabilities(self, texts: Sequence[str], batch_size: int) -> np.ndarray:
        """Float32 (texts, labels), 0 to 1: over a text's windows, the greatest of each label.

        Windows overlap by a quarter, so that what is said at their edge is read whole once.
        """
        windows = [(owner, ids) for owner, text in enumerate(texts) for ids in self._windows(text)]
        windows.sort(key=lambda window: len(window[1]))
        found = np.zeros((len(texts), len(self.labels)), np.float32)
        for start in range(0, len(windows), batch_size):
            part = windows[start : start + batch_size]
            for (owner, _), row in zip(part, self._forward([ids for _, ids in part]), strict=True):
                found[owner] = np.maximum(found[owner], row)
        return found

    def _windows(self, text: str) -> list[list[int]]:
        room = self._window - self._tokenizer.num_special_tokens_to_add()
        encoded = self._tokenizer(
            text,
            truncation=True,
            max_length=self._window,
            stride=room // 4,
            return_overflowing_tokens=True,
            return_attention_mask=False,
        )
        return encoded["input_ids"]

    @torch.inference_mode()
    def _forward(self, rows: list[list[int]]) -> np.ndarray:
        ids, mask = padded(rows, self._tokenizer.pad_token_id or 0, self._device)
        logits = self._model(input_ids=ids, attention_mask=mask).logits.float()
        return (logits.sigmoid() if self._each else logits.softmax(-1)).cpu().numpy()
