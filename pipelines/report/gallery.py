"""Which rows the report shows, and their cards: a bounded sample that depends on the ids alone."""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import pyarrow as pa

from potstill.pipelines import pixels, schema
from potstill.pipelines.chunk import INPUT
from potstill.pipelines.ledger import first_drop
from potstill.pipelines.report.standing import Part, Standing, as_text
from potstill.pipelines.report.text import one_line, shorten, visible

KEPT_ROWS = 25
DROPPED_ROWS = 10
GROUPS = 12
"""Most groups of dropped rows that are shown."""
THUMBNAIL = 160
"""Pixels of the longer side."""
TOKENS = "_tokens"
"""End of the names of columns that count an engine's tokens; they are no scores."""
EXCERPT, WHOLE = 150, 1200
"""Characters of a text that are shown at once, and behind "more"."""

Group = tuple[str, str]
"""(stage, reason) that ended a row's way; empty strings for kept rows."""
KEPT: Group = ("", "")


@dataclass(frozen=True, slots=True)
class Text:
    """A text of a row: its start, and the whole where that says more."""

    column: str
    excerpt: str
    whole: str | None


@dataclass(frozen=True, slots=True)
class Card:
    """What is shown of one row."""

    sample_id: str
    source: str
    size: str
    picture: str | None
    """JPEG as a data: URI; None where it cannot be decoded."""
    texts: list[Text]
    values: list[tuple[str, str]]


@dataclass(slots=True)
class Picks:
    """Per group, its size and the rows with the lowest ids: ids are hashes, so this is a fair and repeatable draw."""

    sizes: dict[Group, int] = field(default_factory=lambda: defaultdict(int))
    rows: dict[Group, list[tuple[str, int, int]]] = field(default_factory=lambda: defaultdict(list))
    """(sample id, chunk, position in the chunk)."""

    def add(self, part: Part) -> None:
        """Look at one chunk."""
        by, reason = first_drop(part.passages, part.table.num_rows)
        ids = part.table[schema.SAMPLE_ID].to_pylist()
        members: dict[Group, list[int]] = defaultdict(list)
        for position, group in enumerate(zip(by, reason, strict=True)):
            members[KEPT if group[0] is None else group].append(position)
        for group, positions in members.items():
            if group[1] in ("quarantined", "pending"):
                continue
            self.sizes[group] += len(positions)
            drawn = [*self.rows[group], *((ids[position], part.index, position) for position in positions)]
            self.rows[group] = sorted(drawn)[: DROPPED_ROWS if any(group) else KEPT_ROWS]

    def dropped(self) -> list[Group]:
        """The groups of dropped rows that are shown, largest first."""
        groups = [group for group in self.sizes if group != KEPT]
        return sorted(groups, key=lambda group: (-self.sizes[group], group))[:GROUPS]


def cards(standing: Standing, picks: Picks) -> dict[Group, list[Card]]:
    """Cards of the drawn rows, group by group; each chunk is opened once."""
    places: dict[int, list[tuple[Group, int]]] = defaultdict(list)
    for group in (KEPT, *picks.dropped()):
        for _, index, position in picks.rows.get(group, ()):
            places[index].append((group, position))
    made: dict[Group, list[Card]] = defaultdict(list)
    for index, wanted in sorted(places.items()):
        for group, card in _cards_of_chunk(standing, index, wanted):
            made[group].append(card)
    return {group: sorted(found, key=lambda card: card.sample_id) for group, found in made.items()}


def _cards_of_chunk(standing: Standing, index: int, wanted: list[tuple[Group, int]]) -> Iterator[tuple[Group, Card]]:
    positions = [position for _, position in wanted]
    rows = standing.part(index, None).table.take(positions)
    pictures = standing.images(index).take(rows[schema.ROW])
    for (group, _), row, picture in zip(wanted, rows.to_pylist(), pictures, strict=True):
        yield group, _card(standing, row, thumbnail(row[schema.IMAGE_ID], picture))


def _card(standing: Standing, row: dict[str, Any], picture: str | None) -> Card:
    texts: dict[str, str | None] = {name: row[f"{INPUT}{name}"] for name in schema.TEXTS}
    values: list[tuple[str, str]] = []
    gates = {stage.gate() for stage in standing.plan.row_stages()}
    for stage in standing.plan.stages:
        for name in stage.writes():
            value = row.get(name)
            if isinstance(value, str) and name not in gates:
                texts[name] = value
            elif isinstance(value, int | float) and not name.endswith(TOKENS):
                values.append((name, as_text(value)))
    return Card(
        sample_id=row[schema.SAMPLE_ID],
        source=one_line(row[f"{INPUT}{schema.SOURCE}"], EXCERPT),
        size=f"{row[f'{INPUT}{schema.WIDTH}']} x {row[f'{INPUT}{schema.HEIGHT}']} {row[f'{INPUT}{schema.FORMAT}']}",
        picture=picture,
        texts=[_text(name, text) for name, text in texts.items() if text and text.strip()],
        values=values,
    )


def _text(column: str, text: str) -> Text:
    whole = shorten(visible(text), WHOLE)
    if len(text) <= EXCERPT:
        return Text(column, whole, None)
    return Text(column, visible(text[:EXCERPT]).rstrip() + "…", whole)


def thumbnail(image_id: str, data: pa.Scalar) -> str | None:
    """At most 160 x 160 pixels as a data: URI, or None where the picture cannot be decoded."""
    try:
        small = pixels.decode(image_id, data.as_py()).copy()
    except Exception:  # noqa: BLE001 (an intake that only read headers lets anything through; the card says so)
        return None
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    out = BytesIO()
    small.save(out, "JPEG", quality=75, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(out.getvalue()).decode()}"
