"""A caption without hallucinations: each of its sentences is checked against the picture, and the false ones left out.

Source: MM-INF, the code of Oasis (Zhang et al. 2025, arXiv 2503.08741), writes captions by parts that a judge accepts;
as a correction of answers: Woodpecker (Yin et al. 2023, arXiv 2310.16045). The prompt is our own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import pyarrow as pa

from potstill.models.engines.protocol import Completion, Engine, Request
from potstill.pipelines import schema
from potstill.pipelines.synthesizers.splitting import By, pieces
from potstill.pipelines.synthesizers.synthesizer import Columns, Row, Step, Synthesizer, require
from potstill.pipelines.synthesizers.yes_no import CHECKED, YesNo


class VerifiedCaption(Synthesizer):
    """Reads ``image`` and a text; writes ``<name>``: the text without the sentences that are not true of the picture.

    ``<name>_parts`` has every sentence in order, with ``text``, ``holds`` and the ``probability`` of yes;
    ``<name>_kept`` and ``<name>_dropped`` count them. A row of which nothing is left is rejected (``nothing_true``).
    """

    kind: Literal["verified_caption"] = "verified_caption"
    text: str = schema.CAPTION
    """Column with the text."""
    split: By = "sentence"
    """What is checked, and kept or left out, as one."""
    judge: YesNo = YesNo()
    """How a part is checked."""
    prompts: ClassVar = ("text_true",)
    rejects: ClassVar = True

    def reads(self) -> tuple[str, ...]:
        """The picture and the text."""
        return schema.IMAGE, self.text

    def columns(self) -> Mapping[str, pa.DataType]:
        """What is left, the counts, and the verdicts."""
        counts = {f"{self.name}_{noun}": pa.int16() for noun in ("kept", "dropped")}
        parts = pa.list_(pa.struct([("text", pa.string()), *CHECKED]))
        return {self.name: pa.string(), **counts, f"{self.name}_parts": parts}

    def steps(self, engine: Engine) -> Sequence[Step]:
        """All parts at once, over one picture."""
        return (Step("check", self._ask, self._read, sees=True, join=self._join),)

    def _ask(self, row: Row) -> list[Request]:
        parts = pieces(require(row, self.text), self.split)
        return [self.judge.request("text_true", part.strip(), row[schema.IMAGE]) for part in parts]

    def _read(self, row: Row, reply: Completion) -> dict[str, Any]:
        return self.judge.read(reply)

    def _join(self, row: Row, found: Sequence[dict[str, Any]]) -> Columns:
        parts = pieces(row[self.text], self.split)
        kept = [part for part, verdict in zip(parts, found, strict=True) if verdict["holds"]]
        return {
            self.name: "".join(kept).strip() or None,
            f"{self.name}_kept": len(kept),
            f"{self.name}_dropped": len(parts) - len(kept),
            f"{self.name}_parts": [
                {"text": part.strip(), **verdict} for part, verdict in zip(parts, found, strict=True)
            ],
            f"{self.name}_reason": None if kept else "nothing_true",
        }
