"""Writes ``report.html``: one page with the funnel, the scores, kept and dropped rows and the quarantine of a run.

Reads nothing but the run directory, chunk by chunk, and is bounded in memory and in size whatever the run's. The page
loads nothing: styles and thumbnails are inside, there is no script, and its content policy forbids everything else.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import jinja2
import pyarrow as pa

from potstill.pipelines import schema
from potstill.pipelines.chunk import INPUT
from potstill.pipelines.filters.filter import Filter
from potstill.pipelines.ledger import Ledger
from potstill.pipelines.report import charts, gallery
from potstill.pipelines.report.histogram import Histogram, histograms, thresholds
from potstill.pipelines.report.provenance import Provenance
from potstill.pipelines.report.standing import Part, Standing, count, error_of
from potstill.pipelines.report.text import duration, one_line, visible
from potstill.pipelines.selectors.set_filter import SetFilter

REPORT_FILE = "report.html"
FAILURES_EACH, FAILURES = 5, 60
"""Rows of the quarantine that are shown: per stage and type, and in all."""
DUPLICATES_SHOWN = 10
REASONS_SHOWN = 8
SOURCE_LIMIT, MESSAGE_LIMIT = 160, 400


def write_report(directory: str) -> str:
    """Write ``report.html`` anew and return its path or URL. Raises ``RequestError`` for no run directory."""
    standing = Standing(directory)
    page = _render(_gather(standing))
    standing.run.write_bytes(REPORT_FILE, page.encode())
    return f"{str(directory).rstrip('/')}/{REPORT_FILE}"


@dataclass(slots=True)
class Failures:
    """The quarantine: how many rows per (stage, type), and a few of each."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    shown: list[dict[str, str]] = field(default_factory=list)

    def add(self, part: Part) -> None:
        """Look at one chunk."""
        for row in part.broken.nonzero()[0]:
            self._note(part.images[schema.SOURCE][int(row)].as_py(), error_of(part, int(row)))
        sources, errors = part.table[f"{INPUT}{schema.SOURCE}"], part.table[schema.ERROR]
        for passage in part.passages:
            for row in passage.quarantined.nonzero()[0]:
                self._note(sources[int(row)].as_py(), errors[int(row)].as_py())

    def _note(self, source: str, error: dict[str, Any]) -> None:
        kind = (error["stage"], error["type"])
        self.counts[kind] += 1
        if self.counts[kind] <= FAILURES_EACH and len(self.shown) < FAILURES:
            message = one_line(error["message"] or "", MESSAGE_LIMIT)
            self.shown.append({**error, "source": one_line(source, SOURCE_LIMIT), "message": message})

    @property
    def more(self) -> int:
        """Rows in quarantine that are not shown."""
        return self.counts.total() - len(self.shown)


@dataclass(slots=True)
class Findings:
    """All that the page says."""

    standing: Standing
    ledger: Ledger
    histograms: list[Histogram]
    failures: Failures = field(default_factory=Failures)
    picks: gallery.Picks = field(default_factory=gallery.Picks)
    provenance: Provenance = field(default_factory=Provenance)


def _gather(standing: Standing) -> Findings:
    """Two passes over the chunks: counts and ranges, then histograms in bins over those ranges."""
    found = Findings(standing, standing.new_ledger(), histograms(standing.plan))
    columns = [histogram.column for histogram in found.histograms]
    for part in standing.parts(columns):
        count(found.ledger, part)
        found.failures.add(part)
        found.picks.add(part)
        found.provenance.add(part)
        for histogram in found.histograms:
            histogram.measure(_column(part, histogram.column))
    for part in standing.parts(columns):
        for histogram in found.histograms:
            histogram.add(_column(part, histogram.column), part.kept)
    return found


def _column(part: Part, name: str) -> pa.ChunkedArray:
    if name in part.table.column_names:
        return part.table[name]
    return pa.chunked_array([pa.nulls(part.table.num_rows, pa.float64())])


def _render(found: Findings) -> str:
    here = Path(__file__).parent
    style = (here / "report.css").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(here),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"visible": visible, "duration": duration}
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return environment.get_template("report.html.j2").render(_content(found), style=style, style_digest=digest)


def _content(found: Findings) -> dict[str, Any]:
    standing, summary = found.standing, found.standing.summary
    stages = standing.counts(found.ledger)
    limits = thresholds(standing.plan)
    scores = [item for item in found.histograms if item.rows and not item.column.endswith(gallery.TOKENS)]
    made = gallery.cards(standing, found.picks)
    conditions = {
        (stage.name, reason): condition
        for stage in standing.plan.stages
        if isinstance(stage, Filter | SetFilter)
        for reason, condition in stage.keep.items()
    }
    return {
        "summary": summary,
        "state": standing.state,
        "rows_out": summary.get("rows", stages[-1]["kept"]),
        "plan_text": standing.plan_text,
        "funnel": _funnel(stages, standing.plan.intake.samples_per_image),
        "outcomes": _outcomes(stages),
        "charts": [charts.chart(item, limits.get(item.column, ())) for item in scores],
        "tokens": [item for item in found.histograms if item.rows and item.column.endswith(gallery.TOKENS)],
        "provenance": found.provenance.tables(),
        "kept": made.get(gallery.KEPT, []),
        "kept_rows": found.picks.sizes.get(gallery.KEPT, 0),
        "dropped": [
            (*group, conditions.get(group), found.picks.sizes[group], made[group]) for group in found.picks.dropped()
        ],
        "groups_more": max(0, len(found.picks.sizes) - (gallery.KEPT in found.picks.sizes) - gallery.GROUPS),
        "failures": found.failures,
        "duplicates": [
            (one_line(source, SOURCE_LIMIT), one_line(of, SOURCE_LIMIT))
            for source, (_, of) in islice(sorted(standing.duplicates.items()), DUPLICATES_SHOWN)
        ],
        "duplicates_more": max(0, len(standing.duplicates) - DUPLICATES_SHOWN),
    }


def _funnel(stages: list[dict[str, Any]], samples_per_image: int) -> list[dict[str, Any]]:
    """Rows of the funnel table: the counts, the bar, and the most frequent reasons."""
    whole = max((stage["in"] for stage in stages), default=0)
    rows: list[dict[str, Any]] = []
    for stage in stages:
        scale = samples_per_image if stage["name"] == "intake" and whole > stage["in"] else 1
        reasons = Counter(stage["dropped"]).most_common()
        rest = sum(number for _, number in reasons[REASONS_SHOWN:])
        rows.append(
            {
                **stage,
                "bar": charts.flow(stage, math.ceil(whole / scale)),
                "share": stage["kept"] / stage["in"] if stage["in"] else None,
                "dropped_rows": sum(stage["dropped"].values()),
                "reasons": reasons[:REASONS_SHOWN] + ([("other reasons", rest)] if rest else []),
            }
        )
    return rows


def _outcomes(stages: list[dict[str, Any]]) -> list[str]:
    """Outcomes that occur, for the legend; ``kept`` always."""
    sizes = Counter({"kept": 1})
    for stage in stages:
        sizes.update({name: stage[name] for name in ("duplicate", "quarantined", "pending")})
        sizes["dropped"] += sum(stage["dropped"].values())
    return [name for name in charts.OUTCOMES if sizes[name]]
