"""Which of several rows is to stay: a number in the plan's words, such as ``width * height`` or ``clip_score``."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import AfterValidator

from potstill.pipelines.filters import expression
from potstill.pipelines.rowset import RowSet


def _checked(text: str) -> str:
    if not expression.names(expression.parse(text)):
        raise ValueError(f"{text!r} names no column, so it is the same for all rows; name one or leave it out")
    return text


Preference = Annotated[str, AfterValidator(_checked)]
"""A number made of columns, as in the conditions of a filter."""


def reads(prefer: str | None) -> tuple[str, ...]:
    """Columns that the preference names."""
    return expression.names(expression.parse(prefer)) if prefer else ()


def order(rows: RowSet, prefer: str | None) -> np.ndarray:
    """All positions, int64 (n,): those of the largest number first, nulls last, of equal ones the lower id.

    Raises ``ValueError`` when what the preference comes to is no number.
    """
    if prefer is None:
        return np.arange(len(rows))
    value = expression.value(expression.parse(prefer), rows.columns(reads(prefer)))
    try:
        numbers = pc.cast(value, pa.float64())
    except pa.ArrowException as error:
        raise ValueError(f"prefer: {prefer!r} comes to {value.type}, not to a number") from error
    return np.argsort(-np.nan_to_num(np.asarray(numbers.fill_null(float("nan"))), nan=-np.inf), kind="stable")
