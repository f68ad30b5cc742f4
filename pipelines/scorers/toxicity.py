"""How abusive a text is: hits of a list of rude words, or the probability by a classifier that the plan names.

A list finds words, not meaning: it misses a polite threat and hits a quotation. For meaning give a classifier of texts,
for example one trained on the Jigsaw comments (Hanu 2020, "Detoxify").
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from potstill.models.engines.settings import TransformersEngine
from potstill.pipelines import schema
from potstill.pipelines.scorers.extras import package_version
from potstill.pipelines.scorers.once import each_text, first_text
from potstill.pipelines.stage import BatchFn, RowStage

WORDS = "words"
PACKAGE, EXTRA = "glin-profanity", "toxicity"
ListLanguage = Literal[
    "arabic", "chinese", "czech", "danish", "dutch", "english", "esperanto", "finnish", "french", "german", "hindi",
    "hungarian", "italian", "japanese", "korean", "norwegian", "persian", "polish", "portuguese", "russian", "spanish",
    "swedish", "thai", "turkish",
]  # fmt: skip


class Toxicity(RowStage):
    """Writes ``<name>_words`` and ``<name>_count`` of a list, or with a model ``<name>_score`` and ``<name>_label``."""

    kind: Literal["toxicity"] = "toxicity"
    batch_rows: ClassVar[int] = 256
    speed: ClassVar[Mapping[str, Any]] = {"batch_size": True, "device": True}

    text: tuple[str, ...] = Field(default=(schema.CAPTION, schema.RESPONSE), min_length=1)
    """Columns to take the text from: the first that is not blank."""
    model: str = WORDS
    """``words`` (lists of the package glin-profanity), or a classifier: a folder or hub name of transformers."""
    languages: tuple[ListLanguage, ...] = Field(default=("english",), min_length=1)
    """Lists for ``words``. Words of one language are harmless in another: take those that the texts are in."""
    labels: tuple[str, ...] = ()
    """Labels of the model that mean toxic; the score is the greatest of their probabilities."""
    revision: str | None = None
    """Commit, tag or branch of a hub model."""
    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?|mps)$")
    """Where the model runs."""
    batch_size: int = Field(default=32, ge=1, le=4096)
    """Windows of text per forward pass."""

    @model_validator(mode="after")
    def _model_has_labels(self) -> Toxicity:
        if (self.model == WORDS) == bool(self.labels):
            raise ValueError("labels: name the model's labels that mean toxic, and none for model 'words'")
        return self

    def reads(self) -> tuple[str, ...]:
        """The text columns."""
        return self.text

    def writes(self) -> Mapping[str, pa.DataType | None]:
        """Words and how many; or a probability, 0 to 1, and the label it is of. Null without a text."""
        if self.model == WORDS:
            return {f"{self.name}_words": pa.list_(pa.string()), f"{self.name}_count": pa.int32()}
        return {f"{self.name}_score": pa.float32(), f"{self.name}_label": pa.string()}

    def identity(self) -> Mapping[str, Any]:
        """Version of the lists, or what the model is."""
        if self.model == WORDS:
            return {PACKAGE: package_version(PACKAGE, EXTRA)}
        return TransformersEngine(model=self.model, revision=self.revision).identity()

    def build(self) -> BatchFn:
        """Load the lists or the model."""
        return self._by_words() if self.model == WORDS else self._by_model()

    def _by_words(self) -> BatchFn:
        package_version(PACKAGE, EXTRA)
        from glin_profanity import Filter

        rude = Filter({"languages": list(self.languages)})

        def score(rows: pa.Table) -> Mapping[str, Any]:
            found = each_text(first_text(rows, self.text), lambda text: rude_words(rude, text) if text else None)
            counts = [None if words is None else len(words) for words in found]
            return {f"{self.name}_words": found, f"{self.name}_count": counts}

        return score

    def _by_model(self) -> BatchFn:
        from potstill.models.text_classifier import TextClassifier

        classifier = TextClassifier(self.model, self.revision, self.device)
        chosen = classifier.columns(self.labels)

        def score(rows: pa.Table) -> Mapping[str, Any]:
            texts = first_text(rows, self.text)
            unique = sorted({text for text in texts if text})
            shares = classifier.probabilities(unique, self.batch_size)[:, chosen]
            best = dict(zip(unique, zip(shares.max(axis=1), np.argmax(shares, axis=1), strict=True), strict=True))
            found = [best.get(text) for text in texts]
            return {
                f"{self.name}_score": [one and float(one[0]) for one in found],
                f"{self.name}_label": [one and self.labels[one[1]] for one in found],
            }

        return score


def rude_words(rude: Any, text: str) -> list[str]:
    """Words of the list in a text, each once, sorted."""
    return sorted(set(rude.check_profanity(text)["profane_words"]))
