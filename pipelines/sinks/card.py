"""The dataset card: what is in the data set, where it came from, and how it was made."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa
import yaml

from potstill.pipelines import schema

SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
"""Upper bounds and names of the size categories of the Hugging Face hub."""


def dataset_card(licences: Iterable[pa.Table], card: Mapping[str, Any]) -> bytes:
    """README.md with a YAML header. ``licences`` are the licence columns of the parts; values are shown as text."""
    counts: Counter[str] = Counter()
    for table in licences:
        if schema.LICENCE in table.column_names:
            counts.update(value or "not stated" for value in table[schema.LICENCE].to_pylist())
        else:
            counts.update({"not stated": table.num_rows})
    rows = sum(counts.values())
    header = {
        "size_categories": [next((name for bound, name in SIZES if rows < bound), "n>1M")],
        "task_categories": ["image-text-to-text"],
        "tags": ["image", "potstill"],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "part-*.parquet"}]}],
    }
    sections = [
        f"---\n{yaml.safe_dump(header, sort_keys=False)}---",
        "# Data set made by Potstill",
        f"{rows} rows. Content hash (does not depend on the order of rows): {_code(card.get('content_hash'))}.",
        "## How it was made",
        f"    {_line(card.get('command') or 'potstill run plan.yaml --out DIR')}",
        "The whole plan is in `plan.yaml` beside this folder; versions: " + _pairs(card.get("versions")) + ".",
        "## Rows per stage",
        _funnel(card.get("counts")),
        "## Licences",
        _table(["licence", "rows"], [[name, str(number)] for name, number in sorted(counts.items())]),
        "The licence is what the source says about each picture. Texts and pictures come from the sources and from "
        "models; they are data, and nothing in them was checked beyond what the plan says.",
    ]
    return ("\n\n".join(sections) + "\n").encode("utf-8", "replace")


def _line(value: Any) -> str:
    """One line of any text."""
    return " ".join(str(value).split())


def _text(value: Any) -> str:
    """Any text as plain text in Markdown: no markup, no table cell, no line of its own."""
    escaped = html.escape(_line(value)[:200], quote=False)
    return "".join(f"\\{char}" if char in "\\`*_[]|#!" else char for char in escaped)


def _code(value: Any) -> str:
    return f"`{_line(value).replace('`', '')}`" if value else "not computed"


def _pairs(values: Any) -> str:
    if not isinstance(values, Mapping) or not values:
        return "not recorded"
    return ", ".join(f"{_text(name)} {_text(value)}" for name, value in values.items())


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *([_text(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _funnel(counts: Any) -> str:
    """A line per stage; reasons of drops in one cell."""
    if not isinstance(counts, Mapping) or not counts:
        return "Not recorded."
    rows = []
    for stage, numbers in counts.items():
        numbers = numbers if isinstance(numbers, Mapping) else {"kept": numbers}
        dropped = numbers.get("dropped", 0)
        if isinstance(dropped, Mapping):
            dropped = ", ".join(f"{reason} {number}" for reason, number in dropped.items()) or 0
        cells = [numbers.get("in", ""), numbers.get("kept", ""), dropped]
        rows.append([str(each) for each in (stage, *cells, numbers.get("duplicate", 0), numbers.get("quarantined", 0))])
    return _table(["stage", "in", "kept", "dropped", "duplicate", "quarantined"], rows)
