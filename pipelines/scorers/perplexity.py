"""How surprising a text is to a language model: high for garbled text, low for what it has read many times.

Source: Wenzek et al. 2019 (CCNet), arXiv 1911.00359, which sorts web text by perplexity. Bits per character compare
between tokenizers, perplexity does not. The scale is a matter of the model: look at the histogram first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import pyarrow as pa
from pydantic import Field

from potstill.models.engines.settings import TransformersEngine
from potstill.pipelines import schema
from potstill.pipelines.scorers.once import first_text
from potstill.pipelines.stage import BatchFn, RowStage

_NO_TOKENS = (None, None, None, 0)


class Perplexity(RowStage):
    """Writes ``<name>`` (from 1), ``<name>_bits_per_token``, ``_bits_per_character`` and ``_tokens``."""

    kind: Literal["perplexity"] = "perplexity"
    batch_rows: ClassVar[int] = 256
    speed: ClassVar[Mapping[str, Any]] = {"batch_size": True, "device": True}

    text: tuple[str, ...] = Field(default=(schema.CAPTION, schema.RESPONSE), min_length=1)
    """Columns to take the text from: the first that is not blank."""
    model: str = "tiny"
    """A causal language model: a folder or hub name of transformers, or ``tiny`` (embedded: emoji scenes only)."""
    revision: str | None = None
    """Commit, tag or branch of a hub model."""
    window: int | None = Field(default=None, ge=2)
    """Most tokens of one forward pass; the model's own limit, unless this is lower."""
    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?|mps)$")
    """Where the model runs."""
    batch_size: int = Field(default=16, ge=1, le=4096)
    """Windows of text per forward pass at most."""

    def reads(self) -> tuple[str, ...]:
        """The text columns."""
        return self.text

    def writes(self) -> Mapping[str, pa.DataType | None]:
        """Perplexity, which is 2 to the bits per token, and bits as float32, tokens as int32; null without a text."""
        return {
            self.name: pa.float32(),
            f"{self.name}_bits_per_token": pa.float32(),
            f"{self.name}_bits_per_character": pa.float32(),
            f"{self.name}_tokens": pa.int32(),
        }

    def identity(self) -> Mapping[str, Any]:
        """What the model is: the digest of a folder, or name and revision on the hub."""
        return TransformersEngine(model=self.model, revision=self.revision).identity()

    def build(self) -> BatchFn:
        """Load the model; each text of a batch is read once, however many rows share it."""
        from potstill.models.causal_lm import CausalLm

        reader = CausalLm(self.model, self.revision, self.device, self.window)

        def score(rows: pa.Table) -> Mapping[str, Any]:
            texts = first_text(rows, self.text)
            unique = sorted({text for text in texts if text})
            found = {
                text: (2 ** (bits / tokens), bits / tokens, bits / len(text), int(tokens)) if tokens else _NO_TOKENS
                for text, bits, tokens in zip(unique, *reader.bits(unique, self.batch_size), strict=True)
            }
            values = [found.get(text, (None, None, None, None)) for text in texts]
            return {name: [row[place] for row in values] for place, name in enumerate(self.writes())}

        return score
