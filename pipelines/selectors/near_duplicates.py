"""Of pictures that look alike, one stays: perceptual hashes that differ in few bits, found exactly, and colours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from potstill.pipelines import hamming, preference, schema
from potstill.pipelines.keys import numbered
from potstill.pipelines.neighbours.semantic import names
from potstill.pipelines.rowset import RowSet
from potstill.pipelines.selectors.selector import Choice, Selector
from potstill.pipelines.stars import stars

NEAR_DUPLICATE = "near_duplicate"


class NearDuplicates(Selector):
    """Writes ``<name>_duplicate_of``, the id of the kept row that stands for a dropped one (null for kept rows);
    ``<name>_distance``, bits between the two; ``<name>_difference``, the most that the mean colours of a field differ,
    in levels of 0 to 255; and ``<name>_group``, one id for all that hang together.

    Rows go in the order of ``prefer``, then of ids; each is dropped, for ``near_duplicate``, if a row that stays is
    within ``max_distance`` and ``max_difference``. Rows of one picture (several captions of it) are no duplicates of
    each other and stay or go together. Rows without a hash, and pictures too plain for one, are kept, columns null.

    No near pair is missed. A million rows take minutes of one CPU and 450 bytes of the driver's memory each.
    """

    kind: Literal["near_duplicates"] = "near_duplicates"
    version: ClassVar[int] = 2
    hash: str = "phash"
    """Column of hashes: binary of a fixed size, a multiple of 8 bytes."""
    max_distance: int = Field(default=40, ge=0, le=128)
    """Bits, here of 256, in which duplicates differ at most. Less for large sets of sparse pictures: docs/dedup.md."""
    max_difference: int = Field(default=28, ge=0, le=255)
    """Levels by which no field's red, green or blue, in ``<hash>_colours``, may differ more. 255: only hashes count."""
    prefer: preference.Preference | None = None
    """Of duplicates the row with the largest stays: a column, or ``width * height``. Nulls come last."""
    min_ones: int = Field(default=64, ge=0)
    """A hash with fewer ones is that of a plain picture and says nothing: all empty pages have the same."""
    drop: bool = True
    """Whether duplicates go; false only writes the columns."""

    def reads(self) -> tuple[str, ...]:
        """Hashes and colours, whose picture they are, and the preference."""
        return tuple(dict.fromkeys((schema.IMAGE_ID, *self._looks(), *preference.reads(self.prefer))))

    def _looks(self) -> tuple[str, ...]:
        return (self.hash,) if self.max_difference == 255 else (self.hash, f"{self.hash}_colours")

    def writes(self) -> Mapping[str, pa.DataType]:
        """Who stands for the row, how far and how different it is, its group."""
        kinds = {"duplicate_of": pa.string(), "distance": pa.int16(), "difference": pa.int16(), "group": pa.string()}
        return {f"{self.name}_{noun}": kind for noun, kind in kinds.items()}

    def select(self, rows: RowSet, seed: int) -> Choice:
        """The leader of each star, and all that have none."""
        columns = rows.columns([schema.IMAGE_ID, *self._looks()])
        (hashes, there), *colours = (hamming.codes(columns[name]) for name in self._looks())
        fields = colours[0][0].view(np.uint8) if colours else None
        bits = hamming.WORD * hashes.shape[1]
        if there.any() and max(2 * self.min_ones, 2 * self.max_distance) > bits:
            raise ValueError(
                f"min_ones {self.min_ones} and max_distance {self.max_distance} must be at most half of the {bits} "
                f"bits of {self.hash!r}"
            )
        there &= hamming.ones(hashes) >= self.min_ones
        order = preference.order(rows, self.prefer)
        pictures, _ = numbered(columns[schema.IMAGE_ID])
        found = stars(hashes, self.max_distance, order[there[order]], pictures, fields, self.max_difference)
        numbers = (pa.array(each, pa.int16(), mask=each < 0) for each in (found.distance, found.difference))
        written = (names(rows, found.behind), *numbers, names(rows, found.group))
        reasons = np.full(len(rows), NEAR_DUPLICATE, object)
        keep = (found.behind < 0) | (not self.drop)
        return Choice(keep, reasons, dict(zip(self.writes(), written, strict=True)))
