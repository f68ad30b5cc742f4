"""Plain numbers about a text: how long, how repetitive, of which characters, and whether it is a refusal or markup.

Limits for web pages: Rae et al. 2021 (Gopher), arXiv 2112.11446, table A1 and appendix A.1.1; for captions: Gadre et
al. 2023 (DataComp), arXiv 2304.14108.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, get_args

import pyarrow as pa
from pydantic import Field

from potstill.pipelines import schema
from potstill.pipelines.scorers.once import each_text, first_text
from potstill.pipelines.scorers.phrases import digest
from potstill.pipelines.scorers.text_measures import measures
from potstill.pipelines.stage import BatchFn, RowStage

Count = Literal["characters", "words", "longest_line"]
Share = Literal[
    "mean_word_length", "word_repetition", "top_2gram", "top_3gram", "top_4gram", "line_repetition",
    "alphabet_share", "digit_share", "special_share", "uppercase_share", "symbol_ratio",
]  # fmt: skip
Flag = Literal["url", "html", "control", "refusal", "injection"]
Noun = Literal[Count, Share, Flag]


class TextStats(RowStage):
    """Writes ``<name>_<noun>``: lengths, repetition, shares of characters, and flags such as refusal, url and html."""

    kind: Literal["text_stats"] = "text_stats"
    in_process: ClassVar[bool] = True

    text: tuple[str, ...] = Field(default=(schema.CAPTION, schema.RESPONSE), min_length=1)
    """Columns to take the text from: the first that is not blank."""
    columns: tuple[Noun, ...] = Field(default=get_args(Noun), min_length=1)
    """Which to write."""

    def reads(self) -> tuple[str, ...]:
        """The text columns."""
        return self.text

    def writes(self) -> Mapping[str, pa.DataType | None]:
        """Counts as int32, flags as bool, the rest as float32."""
        kinds = dict.fromkeys(get_args(Count), pa.int32()) | dict.fromkeys(get_args(Flag), pa.bool_())
        return {f"{self.name}_{noun}": kinds.get(noun, pa.float32()) for noun in self.columns}

    def identity(self) -> Mapping[str, Any]:
        """What the lists of phrases hold, where they count."""
        lists = {"refusal": "refusals", "injection": "injections"}
        return {noun: digest(name) for noun, name in lists.items() if noun in self.columns}

    def build(self) -> BatchFn:
        """Nothing to load."""

        def score(rows: pa.Table) -> Mapping[str, Any]:
            found = each_text(first_text(rows, self.text), measures)
            return {f"{self.name}_{noun}": [one[noun] for one in found] for noun in self.columns}

        return score
