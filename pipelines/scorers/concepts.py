"""Which concepts of a list a text names: for counting how often each is in the pool and in what is kept.

Source: Udandarao et al. 2024, "No zero-shot without exponential data", arXiv 2404.04125: a model's accuracy on a
concept grows with the logarithm of its frequency in the training captions, so dropping rare concepts has a price.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import pyarrow as pa
import xxhash
from pydantic import Field, model_validator

from potstill.pipelines import schema
from potstill.pipelines.scorers.once import each_text, first_text
from potstill.pipelines.scorers.text_measures import words
from potstill.pipelines.stage import BatchFn, RowStage


class Concepts(RowStage):
    """Writes ``<name>``, the concepts of a list that a text names, and ``<name>_count``."""

    kind: Literal["concepts"] = "concepts"
    batch_rows: ClassVar[int] = 256
    in_process: ClassVar[bool] = True

    text: tuple[str, ...] = Field(default=(schema.CAPTION, schema.RESPONSE), min_length=1)
    """Columns to take the text from: the first that is not blank."""
    concepts: tuple[str, ...] = ()
    """The list: a word or phrase each, with other words for it behind bars (``dog|hound|puppy`` counts as dog)."""
    file: str | None = None
    """A UTF-8 file with the list instead, one a line; a line that starts with ``#`` is a comment."""
    plurals: bool = True
    """Take a regular English plural for its singular, in text and list."""

    @model_validator(mode="after")
    def _one_list(self) -> Concepts:
        if (self.file is None) == (not self.concepts):
            raise ValueError("give either concepts, a list, or file, the path of one")
        return self

    def reads(self) -> tuple[str, ...]:
        """The text columns."""
        return self.text

    def writes(self) -> Mapping[str, pa.DataType | None]:
        """Names in the order of the text, each once, and how many; null without a text."""
        return {self.name: pa.list_(pa.string()), f"{self.name}_count": pa.int32()}

    def identity(self) -> Mapping[str, Any]:
        """What stands in the file."""
        return {} if self.file is None else {"file": xxhash.xxh3_64_hexdigest(Path(self.file).read_bytes())}

    def build(self) -> BatchFn:
        """Read the list."""
        lines = self.concepts if self.file is None else Path(self.file).read_text(encoding="utf-8").splitlines()
        index = index_of([line for line in lines if line.strip() and not line.startswith("#")], plurals=self.plurals)

        def score(rows: pa.Table) -> Mapping[str, Any]:
            texts = first_text(rows, self.text)
            found = each_text(texts, lambda text: named(text, index, plurals=self.plurals) if text else None)
            return {self.name: found, f"{self.name}_count": [None if one is None else len(one) for one in found]}

        return score


Index = Mapping[str, Sequence[tuple[tuple[str, ...], str]]]
"""First word -> phrases that start with it, longest first, each with the name of its concept."""


def index_of(lines: Sequence[str], *, plurals: bool) -> Index:
    """The index of a list; of two concepts with the same wording the first has it. Raises ``ValueError`` if empty."""
    phrases: dict[tuple[str, ...], str] = {}
    for line in lines:
        wordings = [wording.strip() for wording in line.split("|")]
        for wording in wordings:
            phrases.setdefault(_tokens(wording, plurals), wordings[0])
    phrases.pop((), None)
    if not phrases:
        raise ValueError("the list of concepts holds no word; write one a line")
    index: dict[str, list[tuple[tuple[str, ...], str]]] = {}
    for phrase in sorted(phrases, key=lambda phrase: (-len(phrase), phrase)):
        index.setdefault(phrase[0], []).append((phrase, phrases[phrase]))
    return index


def named(text: str, index: Index, *, plurals: bool) -> list[str]:
    """Concepts named in a text, in its order, each once. A word counts for the longest phrase: no dog in a hot dog."""
    tokens = _tokens(text, plurals)
    found: dict[str, None] = {}
    place = 0
    while place < len(tokens):
        fits = (pair for pair in index.get(tokens[place], ()) if tokens[place : place + len(pair[0])] == pair[0])
        phrase, name = next(fits, (("",), None))
        if name is not None:
            found[name] = None
        place += len(phrase)
    return list(found)


def _tokens(text: str, plurals: bool) -> tuple[str, ...]:
    return tuple(map(folded, words(text)) if plurals else words(text))


def folded(word: str) -> str:
    """The same for a lower-case English word, its regular plural and its genitive; not a word itself."""
    word = word.removesuffix("'s").removesuffix("\u2019s")
    for ending, instead in _ENDINGS:
        if word.endswith(ending) and len(word) > 3 + ending.endswith("s"):  # not "toe", which would become "to"
            word = word.removesuffix(ending) + instead
            break
    return word[:-1] if word.endswith("s") and not word.endswith(("ss", "us")) and len(word) > 3 else word


_SIBILANTS = ("s", "x", "z", "ch", "sh", "o")
_ENDINGS = (("ies", "y"), ("ie", "y"), *((f"{end}{plural}", end) for plural in ("es", "e") for end in _SIBILANTS))
