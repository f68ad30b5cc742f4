"""A selector's choice: offered the rows that reach it, remembered in ``decisions/``, and handed back chunk by chunk."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import xxhash

from potstill.pipelines import chunk, members, schema
from potstill.pipelines.chunk import ConservationError
from potstill.pipelines.plan import Plan
from potstill.pipelines.rowset import ID, Over, RowSet
from potstill.pipelines.rundir import RunDir
from potstill.pipelines.selectors.selector import NOT_SELECTED, Choice, Selector
from potstill.pipelines.walk import read

SCRATCH = ".scratch"
BLOCK_ROWS = 65_536
"""Rows of a block, at least, where there are as many: chunks are small for vectors."""
CHOICE = b"potstill.choice"


@dataclass(frozen=True, slots=True)
class Offer:
    """A chunk's rows that reach a selector."""

    index: int
    duplicates: tuple[int, ...]
    entered: bytes
    """Packed bits over the chunk's samples."""
    rows: int
    decided: pa.Table | None
    """What earlier selectors decided."""

    @property
    def mask(self) -> np.ndarray:
        """Boolean array over the chunk's samples."""
        return chunk.unpack(self.entered, self.rows)


@dataclass(frozen=True, slots=True)
class ChunkRows:
    """A block of a :class:`RowSet`: the rows of some chunks that reach the stage at ``position``."""

    url: str
    plan: Plan
    prints: Mapping[str, str]
    position: int
    offers: tuple[Offer, ...]

    def read(self, columns: Sequence[str]) -> pa.Table:
        """``sample_id`` and the columns, as the stage sees them."""
        return pa.concat_tables([self._part(offer, columns) for offer in self.offers], promote_options="permissive")

    def _part(self, offer: Offer, columns: Sequence[str]) -> pa.Table:
        run = RunDir(self.url)
        table = chunk.load(run, self.plan, self.prints, offer.index, offer.duplicates, columns, offer.decided)
        table = table.filter(pa.array(offer.mask))
        found = read(self.plan, self.position, table, tuple(columns))
        return pa.table({schema.SAMPLE_ID: table[schema.SAMPLE_ID], **found})


def choose(
    run: RunDir, plan: Plan, prints: Mapping[str, str], position: int, offers: Sequence[Offer], over: Over
) -> pa.Table:
    """The choice of the selector at ``position``: ``sample_id`` ascending, ``keep``, ``reason``, what it wrote.

    The one that ``decisions/`` remembers, if it was made by the same settings from the same rows.
    """
    selector = plan.stages[position]
    assert isinstance(selector, Selector)
    scratch = f"{SCRATCH}/{selector.name}"
    blocks = [ChunkRows(run.url, plan, prints, position, part) for part in _blocks(offers)]
    rows = RowSet(blocks, over, RunDir(f"{run.url}/{scratch}"))
    digest = _digest(plan, selector, prints[selector.name], rows)
    file = decisions_file(selector)
    if run.exists(file) and (run.read_schema(file).metadata or {}).get(CHOICE) == digest:
        return run.read_table(file)
    try:
        choice = selector.select(rows, plan.seed)
    finally:
        run.remove_tree(scratch)
    table = as_table(selector, rows, choice).replace_schema_metadata({CHOICE: digest})
    run.write_table(file, table)
    return table


def decisions_file(selector: Selector) -> str:
    """Name of the file with what a selector chose."""
    return f"decisions/{selector.name}.parquet"


def _blocks(offers: Sequence[Offer]) -> Iterator[tuple[Offer, ...]]:
    part: list[Offer] = []
    for offer in offers:
        part.append(offer)
        if sum(each.rows for each in part) >= BLOCK_ROWS:
            yield tuple(part)
            part = []
    if part:
        yield tuple(part)


def _digest(plan: Plan, selector: Selector, fingerprint: str, rows: RowSet) -> bytes:
    """Changes with the settings, the rows, or what the selector reads of them that their ids say nothing of."""
    state = xxhash.xxh3_128(json.dumps([fingerprint, plan.seed]).encode())
    state.update(rows.ids.tobytes())
    chosen = {name for stage in plan.stages if isinstance(stage, Selector) for name in stage.writes()}
    for name in sorted(set(selector.reads()) & (chosen | set(schema.ASIDE))):
        state.update(json.dumps(rows.column(name).to_pylist(), default=str).encode())
    return state.hexdigest().encode()


def as_table(selector: Selector, rows: RowSet, choice: Choice) -> pa.Table:
    """The choice, checked against what was offered and promised."""
    promised = selector.writes()
    if set(choice.columns) != set(promised):
        raise ConservationError(
            f"selector {selector.name} promised columns {sorted(promised)} and wrote {sorted(choice.columns)}"
        )
    reasons = np.full(len(rows), NOT_SELECTED, object) if choice.reasons is None else choice.reasons.copy()
    for name, values in {"keep": choice.keep, "reasons": reasons, **choice.columns, **choice.evidence}.items():
        if len(values) != len(rows):
            raise ConservationError(
                f"selector {selector.name}: {len(rows)} rows were offered and {len(values)} values of {name} came back"
            )
    reasons[np.asarray(choice.keep, bool)] = None
    return pa.table({
        schema.SAMPLE_ID: pa.array(rows.texts, pa.string()),
        "keep": pa.array(np.asarray(choice.keep, bool)),
        "reason": pa.array(reasons, pa.string()),
        **{name: pa.array(choice.columns[name], kind) for name, kind in promised.items()},
        **choice.evidence,
    })  # fmt: skip


def handed_back(selector: Selector, choice: pa.Table, places: Mapping[int, pa.Table]) -> dict[int, pa.Table]:
    """Per chunk, the columns that the choice adds to its table; ``places`` are those of :func:`members.places`."""
    chosen = Chosen(selector, choice)
    found = {index: chosen.of(place[schema.SAMPLE_ID].to_pylist()) for index, place in places.items()}
    if selector.names_rows:
        groups = {index: added[f"{selector.name}_ids"] for index, added in found.items()}
        for index, at in members.locate(places, groups).items():
            found[index] = found[index].append_column(f"{chunk.AT}{selector.name}", at)
    return found


class Chosen:
    """A selector's choice, to be looked up by sample id."""

    def __init__(self, selector: Selector, table: pa.Table) -> None:
        self._ids = np.array(table[schema.SAMPLE_ID].to_pylist(), ID)
        self._table = table.select(["reason", *selector.writes()])
        self._table = self._table.rename_columns([f"{chunk.WHY}{selector.name}", *selector.writes()])

    def of(self, ids: Sequence[str]) -> pa.Table:
        """Reason and written columns for these ids; null for those that were not offered."""
        wanted = np.array(ids, ID)
        at = np.searchsorted(self._ids, wanted)
        known = at < len(self._ids)
        known[known] = self._ids[at[known]] == wanted[known]
        return self._table.take(pa.array(at, mask=~known))
