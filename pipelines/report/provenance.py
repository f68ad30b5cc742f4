"""Where rows come from and under which licence: of the pool, and of what is kept."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from potstill.pipelines import schema
from potstill.pipelines.chunk import INPUT
from potstill.pipelines.filters import expression
from potstill.pipelines.report.standing import Part
from potstill.pipelines.report.text import one_line

SHOWN = 12
"""Most names in a table."""
NAMES = 10_000
"""Most names that are counted apart; rows of later ones are in the sum of the others."""
NAME_LIMIT = 80
NOT_STATED, TOP = "not stated", "(top)"
_FOLDER = expression.parse("folder(source)")


@dataclass(frozen=True, slots=True)
class Table:
    """Rows by licence, or by folder of the source: name, rows of the pool, rows kept; the largest first."""

    title: str
    rows: list[tuple[str, int, int]]
    others: tuple[int, int, int] | None
    """Names that are not listed, their rows, and how many of these are kept."""


@dataclass(slots=True)
class Tally:
    """Rows by name."""

    pool: Counter[str] = field(default_factory=Counter)
    kept: Counter[str] = field(default_factory=Counter)
    rest: list[int] = field(default_factory=lambda: [0, 0])
    """Rows of names beyond :data:`NAMES`, and how many of them are kept."""

    def add(self, names: pa.ChunkedArray, kept: pa.Array) -> None:
        """Count the rows of a chunk."""
        counts = pa.table({"name": names, "kept": kept}).group_by(["name", "kept"], use_threads=False)
        for name, stays, rows in zip(*counts.aggregate([([], "count_all")]).to_pydict().values(), strict=True):
            if name not in self.pool and len(self.pool) >= NAMES:
                self.rest[0] += rows
                self.rest[1] += rows * stays
                continue
            self.pool[name] += rows
            self.kept[name] += rows * stays

    def table(self, title: str) -> Table:
        """The largest names."""
        ranked = sorted(self.pool, key=lambda name: (-self.pool[name], name))
        rows = [(one_line(name, NAME_LIMIT), self.pool[name], self.kept[name]) for name in ranked[:SHOWN]]
        rest = ranked[SHOWN:]
        pool, kept = (sum(counts[name] for name in rest) for counts in (self.pool, self.kept))
        others = (len(rest), pool + self.rest[0], kept + self.rest[1])
        return Table(title, rows, others if others[1] else None)


@dataclass(slots=True)
class Provenance:
    """Licences and folders of the samples of a run: duplicates and rows that the intake refused are not among them."""

    licences: Tally = field(default_factory=Tally)
    folders: Tally = field(default_factory=Tally)

    def add(self, part: Part) -> None:
        """Look at one chunk."""
        kept = pa.array(part.kept)
        licence, source = (part.table[f"{INPUT}{name}"] for name in (schema.LICENCE, schema.SOURCE))
        folder = pa.chunked_array([expression.value(_FOLDER, {schema.SOURCE: source})])
        self.licences.add(pc.fill_null(licence, NOT_STATED), kept)
        self.folders.add(pc.if_else(pc.equal(folder, ""), TOP, folder), kept)

    def tables(self) -> list[Table]:
        """Both, where there is any row."""
        found = [self.licences.table("Licence"), self.folders.table("Folder of the source")]
        return [table for table in found if table.rows]
