"""Measuring each picture, or each text, of a batch once, however many rows share it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import pyarrow as pa
from PIL import Image

from potstill.pipelines import schema
from potstill.pipelines.pixels import thumbnail

T = TypeVar("T")


def each_picture(
    rows: pa.Table,
    measure: Callable[[Image.Image], T],
    decode: Callable[[str, bytes], Image.Image] = thumbnail,
) -> tuple[list[T | None], list[Exception | None]]:
    """Per row, what ``measure`` makes of its picture, and what went wrong: one of the two is ``None``.

    ``decode`` makes the picture of (image id, encoded bytes).
    """
    found: dict[str, T] = {}
    failed: dict[str, Exception] = {}
    ids = rows[schema.IMAGE_ID].to_pylist()
    for id_, data in zip(ids, rows[schema.IMAGE], strict=True):
        if id_ in found or id_ in failed:
            continue
        try:
            found[id_] = measure(decode(id_, data.as_py()))
        except Exception as error:  # noqa: BLE001 (whatever one picture does, the others go on)
            failed[id_] = error
    return [found.get(id_) for id_ in ids], [failed.get(id_) for id_ in ids]


def first_text(rows: pa.Table, columns: Sequence[str], *, join: bool = False) -> list[str]:
    """Per row, the first text of ``columns`` that is not blank, or all of those with spaces between; else the empty
    string."""
    texts = zip(*(rows[name].to_pylist() for name in columns), strict=True)
    found = [[text for text in row if text and text.strip()] for row in texts]
    return [" ".join(row[: None if join else 1]) for row in found]


def each_text(texts: Sequence[str], measure: Callable[[str], T]) -> list[T]:
    """Per text, what ``measure`` makes of it."""
    found = {text: measure(text) for text in dict.fromkeys(texts)}
    return [found[text] for text in texts]
