"""What became of one row, stage by stage, in words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from potstill.config import RequestError
from potstill.pipelines import schema
from potstill.pipelines.filters import expression
from potstill.pipelines.filters.filter import Filter
from potstill.pipelines.report.standing import Part, Standing, as_text, error_of
from potstill.pipelines.report.text import one_line
from potstill.pipelines.selectors.set_filter import SetFilter
from potstill.pipelines.stage import RowStage, Stage
from potstill.pipelines.walk import Passage, read

LEAST_PREFIX = 6
"""Hex digits of an id that are enough to ask for it."""
LISTED = 20
TEXT_LIMIT = 160
SHORT_LIST = 16
"""Longest list of numbers that is shown, and not called a vector."""


@dataclass(frozen=True, slots=True)
class Hit:
    """An input row that was asked for; ``samples`` are the positions of its samples that were."""

    index: int
    row: int
    samples: tuple[int, ...]
    line: str
    """For a list of several."""


def explain(standing: Standing, wanted: str) -> Iterator[str]:
    """Lines that say what became of a row, stage by stage. Several rows that match are listed.

    ``wanted`` is a sample id or image id (:data:`LEAST_PREFIX` hex digits are enough) or a source. Raises
    :class:`RequestError` when no row matches.
    """
    hits = _find(standing, wanted)
    if not hits:
        raise RequestError(
            f"{standing.run.url} has no row {wanted!r}; give a sample id, an image id (at least {LEAST_PREFIX} hex "
            "digits) or the source of a row as it stands in the report"
        )
    if len(hits) > 1:
        yield f"{len(hits)} rows match {wanted!r}; ask for one of them:"
        yield from (f"  {hit.line}" for hit in hits[:LISTED])
        if len(hits) > LISTED:
            yield f"  and {len(hits) - LISTED} more"
        return
    yield from _explain(standing, hits[0])


def _find(standing: Standing, wanted: str) -> list[Hit]:
    """Rows by source if there are any, else by id."""
    by_source: list[Hit] = []
    by_id: list[Hit] = []
    prefix = wanted.lower() if re.fullmatch(rf"[0-9a-fA-F]{{{LEAST_PREFIX},32}}", wanted) else None
    for part in standing.parts():
        by_source += _hits(part, pc.equal(part.images[schema.SOURCE], wanted), None)
        if prefix:
            images = pc.starts_with(part.images[schema.IMAGE_ID], prefix)
            by_id += _hits(part, images, pc.starts_with(part.table[schema.SAMPLE_ID], prefix))
    return by_source or by_id


def _hits(part: Part, images: pa.ChunkedArray, samples: pa.ChunkedArray | None) -> list[Hit]:
    """Rows of a chunk that match by themselves (all their samples) or by one of their samples (only that)."""
    whole = set(pc.indices_nonzero(images).to_pylist())
    rows = part.table[schema.ROW].to_pylist()
    named = [] if samples is None else pc.indices_nonzero(samples).to_pylist()
    some = {row: tuple(at for at in named if rows[at] == row) for row in {rows[at] for at in named} - whole}
    every = {row: tuple(at for at, of in enumerate(rows) if of == row) for row in whole}
    return [_hit(part, row, positions) for row, positions in sorted((every | some).items())]


def _hit(part: Part, row: int, samples: tuple[int, ...]) -> Hit:
    ids = ", ".join(part.table[schema.SAMPLE_ID][at].as_py() for at in samples)
    source = one_line(part.images[schema.SOURCE][row].as_py(), TEXT_LIMIT)
    image = part.images[schema.IMAGE_ID][row].as_py()
    return Hit(part.index, row, samples, f"{source}  image {image}  " + (f"sample {ids}" if ids else "no sample"))


def _explain(standing: Standing, hit: Hit) -> Iterator[str]:
    part = standing.part(hit.index, None)
    image = {name: part.images[name][hit.row].as_py() for name in part.images.column_names}
    source = image[schema.SOURCE]
    yield f"source   {one_line(source, TEXT_LIMIT)}"
    yield f"image    {image[schema.IMAGE_ID]}" + _size(image)
    for name in schema.TEXTS:
        if image[name]:
            yield f"{name:<8} {one_line(image[name], TEXT_LIMIT)}"
    if image[schema.ERROR]:
        again = "; the next run tries it again" if part.retry else ""
        yield f"intake   {_failure(error_of(part, hit.row))}{again}"
    elif hit.row in part.duplicates:
        original = one_line(standing.duplicates[source][1], TEXT_LIMIT)
        yield f"intake   duplicate of {original}: same bytes and texts, so only that row goes on"
    else:
        yield "intake   kept"
    for position in hit.samples:
        yield from _explain_sample(standing, part, position)


def _size(image: dict[str, Any]) -> str:
    width, height, name = (image[key] for key in (schema.WIDTH, schema.HEIGHT, schema.FORMAT))
    return f" ({width} x {height} pixels, {name})" if width else ""


def _failure(error: dict[str, Any]) -> str:
    tries = "1 attempt" if error["attempts"] == 1 else f"{error['attempts']} attempts"
    return f"quarantined: {error['type']}: {one_line(error['message'] or '', 1000)} ({tries})"


def _explain_sample(standing: Standing, part: Part, position: int) -> Iterator[str]:
    yield ""
    yield f"sample   {part.table[schema.SAMPLE_ID][position].as_py()}"
    yield f"now      {'in the dataset' if part.kept[position] and standing.state == 'done' else _end(part, position)}"
    identities = _identities(standing)
    for number, (stage, passage) in enumerate(zip(standing.plan.stages, part.passages, strict=True)):
        what = f" ({stage.kind})" if stage.kind != stage.name else ""
        decided = passage.entered[position] and not passage.pending[position]
        if isinstance(stage, Filter | SetFilter) and decided:
            reason = passage.reasons[position]
            yield f"{stage.name}{what}: {_decision(standing, number, stage, part, position, reason)}"
        else:
            yield f"{stage.name}{what}: {_outcome(passage, part, position)}"
        if isinstance(stage, RowStage):
            yield f"    fingerprint {standing.prints[stage.name]}{identities.get(stage.name, '')}"
        yield from _values(stage, part, position)


def _end(part: Part, position: int) -> str:
    """What ended the row's way, in one line."""
    for passage in part.passages:
        if not passage.kept[position]:
            reason = passage.reasons[position]
            word = f"dropped ({reason})" if reason else "quarantined" if passage.quarantined[position] else "waiting"
            return f"{word} at {passage.stage}"
    return "kept by every stage; the run has not ended"


def _outcome(passage: Passage, part: Part, position: int) -> str:
    if not passage.entered[position]:
        return "not reached"
    if passage.quarantined[position]:
        return _failure(part.table[schema.ERROR][position].as_py())
    if passage.pending[position]:
        return "waiting to be computed or chosen"
    return f"dropped: {passage.reasons[position]}" if passage.dropped[position] else "kept"


def _decision(
    standing: Standing, number: int, stage: Filter | SetFilter, part: Part, position: int, reason: str | None
) -> str:
    """Which condition a row met or failed, with the values that it was decided by."""
    row = part.table.slice(position, 1)
    values = {name: column[0].as_py() for name, column in read(standing.plan, number, row, stage.reads()).items()}
    if isinstance(stage, SetFilter):
        values |= standing.evidence(stage, row[schema.SAMPLE_ID][0].as_py())
    if reason is None:
        return f"kept: {_known(values, tuple(values))}"
    name = reason if reason in stage.keep else reason.removesuffix("_unknown")
    columns = expression.names(stage.conditions[name])
    return f"dropped: {_known(values, columns)}, needs {stage.keep[name]} (reason: {reason})"


def _known(values: dict[str, Any], columns: tuple[str, ...]) -> str:
    return ", ".join(
        f"{name} is null" if values[name] is None else f"{name} == {one_line(as_text(values[name]), TEXT_LIMIT)}"
        for name in columns
    )


def _identities(standing: Standing) -> dict[str, str]:
    """Per row stage, the models and prompts it used, as far as they are still the same on this machine."""
    try:
        now = standing.plan.fingerprints()
    except (OSError, ValueError, RequestError):
        return {}
    return {
        stage.name: f" {as_text(dict(stage.identity()))}"
        if now[stage.name] == standing.prints[stage.name]
        else " (model, prompts or code have changed since)"
        for stage in standing.plan.row_stages()
    }


def _values(stage: Stage, part: Part, position: int) -> Iterator[str]:
    """The columns that a stage wrote for a row: numbers, texts and lists in short, of vectors the length."""
    for name in stage.writes():
        value = part.table[name][position].as_py() if name in part.table.column_names else None
        if value is not None:
            vector = isinstance(value, list) and len(value) > SHORT_LIST and isinstance(value[0], int | float)
            shown = f"vector of {len(value)}" if vector else one_line(as_text(value), TEXT_LIMIT)
            yield f"    {name} = {shown}"
