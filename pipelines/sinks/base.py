"""What every sink does: write the kept rows of one chunk, and close the whole."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from potstill.config import Settings
from potstill.pipelines.rundir import RunDir


class Sink(Settings):
    """A format of the product. Stateless: parts are written in any order, on any worker, and replaced as a whole."""

    @abstractmethod
    def write_part(self, run: RunDir, chunk: int, rows: pa.Table) -> None:
        """Write the kept rows of a chunk, with their images; no rows: remove what an earlier run wrote for the chunk.

        ``rows`` has ``sample_id``, ``image_id``, ``image``, ``width``, ``height``, ``format``, ``source``, ``licence``,
        the texts, ``meta``, and every column that stages wrote.
        """

    @abstractmethod
    def finish(self, run: RunDir, chunks: Sequence[int], card: Mapping[str, Any]) -> None:
        """Called once after all parts: remove parts of other chunks, write what needs the whole (an index, the card).

        ``card`` holds ``plan`` (the resolved plan), ``counts`` (rows in and out per stage), ``content_hash``,
        ``rows`` and ``versions``.
        """
