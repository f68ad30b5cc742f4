"""A run: list the source, take in what is new, compute what is missing, decide, write the product.

Running, resuming, adding input and changing a threshold are one operation: every step looks at what stands in the run
directory and does the rest.
"""

from __future__ import annotations

import errno
import json
import logging
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from potstill.config import RequestError
from potstill.pipelines import choosing, chunk, members, product, record, schema, threads
from potstill.pipelines.chunk import Chunk, ConservationError
from potstill.pipelines.errors import RunFailed, TooManyErrors, unwrapped
from potstill.pipelines.ledger import Ledger
from potstill.pipelines.plan import Plan
from potstill.pipelines.progress import Progress
from potstill.pipelines.rowset import in_order
from potstill.pipelines.rundir import RunDir
from potstill.pipelines.segment import ChunkRead, Segment, take_in_chunk
from potstill.pipelines.selectors.selector import Selector
from potstill.pipelines.walk import Passage, columns_of_decisions, walk
from potstill.pipelines.worker import NOTES, STATS

PLAN_FILE = "plan.yaml"
RUN_FILE = "run.json"

logger = logging.getLogger(__name__)


def run_plan(plan: Plan, out: str, ray_address: str = "local") -> dict[str, Any]:
    """Run a plan into a directory (a path or an fsspec URL) and return what ``run.json`` holds.

    Raises :class:`RequestError` for a wrong request, :class:`TooManyErrors` when quarantine passes
    ``max_error_fraction``, :class:`RunFailed` for anything else that ends the run; nothing committed is ever damaged.
    """
    run = RunDir(out)
    is_new = not run.exists()
    run.check_writable()
    try:
        with run.lock(), ExitStack() as stack:
            try:
                return Runner(plan, run, ray_address, stack).go()
            except RequestError:
                if is_new and not run.exists(PLAN_FILE):
                    run.remove_tree("")
                raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise RunFailed(
                f"no space left for {out}; what was committed is whole: free some and run the same command again"
            ) from error
        raise RunFailed(f"{type(error).__name__}: {error}") from error


class Runner:
    """One run, from the listing to the report."""

    def __init__(self, plan: Plan, run: RunDir, ray_address: str, stack: ExitStack) -> None:
        self.plan, self.run = plan, run
        self._address, self._stack, self._started_ray, self._small = ray_address, stack, False, False
        self._prints = plan.fingerprints()
        self._attempt = uuid.uuid4().hex
        self._ledger = Ledger({stage.name: stage.kind for stage in plan.stages})
        self._chunks: list[Chunk] = []
        self._duplicates: dict[int, tuple[int, ...]] = {}
        self._decided: dict[int, pa.Table] = {}
        self._alive: dict[int, bytes] = {}
        self._begun = time.time()

    def go(self) -> dict[str, Any]:
        """All steps, in order."""
        self._list()
        self._small = self._address == "local" and threads.suffice(self.plan, self.run, self._chunks)
        self.run.write_bytes(PLAN_FILE, record.dump_plan(self.plan))
        try:
            self._save("running")
            self._take_in()
            for start, stop in self.plan.segments():
                self._compute(start, stop)
                if stop < len(self.plan.stages) and isinstance(self.plan.stages[stop], Selector):
                    self._choose(stop)
            self._count()
            self._check_errors()
            result = self._write_product()
        except BaseException as error:
            self._save_failure(error)
            raise
        self._clean()
        return result

    def _list(self) -> None:
        """The chunks of the source, and what an earlier run knew of them."""
        limits = self.plan.run
        items = list(self.plan.source.items(limits.chunk_rows, limits.chunk_bytes))
        known = chunk.read_manifest(self.run)
        self._chunks = chunk.cut(self.plan, items, known)
        chunk.check_same_source(self.run, known, self._chunks)
        chunk.write_manifest(self.run, self._chunks)
        logger.info("%d rows in %d chunks", self._rows, len(self._chunks))

    @property
    def _rows(self) -> int:
        return sum(part.rows for part in self._chunks)

    def _ray(self) -> None:
        """Start or join Ray, once, and only when something must be computed that is too much for threads."""
        if not self._started_ray and not self._small:
            from potstill.models.ray_session import session

            logger.info("starting Ray (%s)", self._address)
            self._stack.enter_context(session(self._address, spare_cpus=1))
            self._started_ray = True

    def _over_chunks(self, fn: Callable[..., Any], calls: Sequence[tuple[Any, ...]]) -> Iterator[Any]:
        """``fn`` over chunks: as Ray tasks when Ray runs, in a few threads when nothing needed it so far."""
        if self._started_ray:
            from potstill.pipelines import stream

            yield from unwrapped(stream.over_chunks(fn, calls))
            return
        yield from threads.over_chunks(fn, calls)

    def _take_in(self) -> None:
        """Write ``images/`` for every chunk that is new or whose input has changed; then find exact duplicates."""
        todo = [part for part in self._chunks if not chunk.is_current(self.run, part)]
        if todo:
            self._ray()
            progress = Progress("intake", len(todo))
            for rows, seconds in self._over_chunks(take_in_chunk, [(self.run.url, self.plan, part) for part in todo]):
                self._ledger.took("intake", rows, seconds)
                progress.step(rows)
        self._find_duplicates()
        self._check_error_count(self._intake_errors)

    def _find_duplicates(self) -> None:
        """Count the input rows; of rows with equal bytes and texts only the first goes on. 16 bytes of memory a row."""
        keys: list[np.ndarray] = []
        for part, images in zip(self._chunks, self._map(self._identities), strict=True):
            if images.num_rows != part.rows:
                raise ConservationError(f"{part.images}: {part.rows} rows were listed and {images.num_rows} are there")
            keys.append(chunk.row_keys(images))
        joined = np.concatenate(keys) if keys else np.array([], dtype=chunk.KEY)
        originals = chunk.originals(joined)
        offsets = np.cumsum([0, *(part.rows for part in self._chunks)])
        records: list[tuple[int, int]] = []
        for part, start, key in zip(self._chunks, offsets[:-1], keys, strict=True):
            twice = np.flatnonzero(originals[start : start + part.rows] != np.arange(start, start + part.rows))
            records += [(int(start + row), int(originals[start + row])) for row in twice]
            self._duplicates[part.index] = tuple(twice.tolist())
            self._ledger.add_intake(part.rows, len(twice), int((key == chunk.NO_KEY).sum()))
        record.write_duplicates(self.run, self._chunks, records, offsets, joined)

    def _identities(self, part: Chunk) -> pa.Table:
        names = [schema.IMAGE_ID, *schema.TEXTS, schema.ERROR]
        return self.run.read_table(part.images, names)

    def _map(self, fn: Callable[[Chunk], Any]) -> Iterator[Any]:
        """``fn`` over all chunks in threads, in order: for reading columns."""
        with ThreadPoolExecutor(threads.THREADS) as pool:
            yield from pool.map(fn, self._chunks)

    def _load(self, part: Chunk, columns: Sequence[str] | None) -> pa.Table:
        duplicates, decided = self._duplicates[part.index], self._decided.get(part.index)
        return chunk.load(self.run, self.plan, self._prints, part.index, duplicates, columns, decided)

    def _walk(self, part: Chunk, stop: int | None = None) -> tuple[pa.Table, list[Passage]]:
        table = self._load(part, columns_of_decisions(self.plan))
        return table, walk(self.plan, table, stop)

    def _compute(self, start: int, stop: int) -> None:
        """Run the row stages in [start, stop) over the chunks that lack something."""
        lacking = [
            part
            for part, (_, passages) in zip(self._chunks, self._map(lambda part: self._walk(part, stop)), strict=True)
            if any(passage.pending.any() for passage in passages[start:])
        ]
        if not lacking:
            return
        self._ray()
        reads = [ChunkRead(part.index, self._duplicates[part.index], self._decided.get(part.index)) for part in lacking]
        for segment, results in self._segments(start, stop, reads):
            names = ", ".join(stage.name for stage in segment.stages())
            progress = Progress(names, len(reads))
            errors = 0
            for done in results:
                for name, numbers in json.loads(done[STATS]).items():
                    self._ledger.took(name, numbers["rows"], numbers["seconds"])
                errors += done["errors"]
                progress.step(done["rows"])
                self._check_error_count(self._intake_errors + errors)
            if progress.steps != len(reads):
                raise ConservationError(f"stages {names}: {len(reads)} chunks were sent and {progress.steps} committed")

    def _segments(
        self, start: int, stop: int, reads: Sequence[ChunkRead]
    ) -> Iterator[tuple[Segment, Iterator[dict[str, Any]]]]:
        """The stages in [start, stop) as one job or several, and what each says about the chunks that it commits."""
        make = partial(Segment, self.plan, self.run, self._prints, self._attempt)
        if not self._started_ray:
            segment = make(start, stop)
            yield segment, threads.execute(segment, reads)
            return
        from potstill.pipelines import stream

        for begin, end, groups in stream.fit(self.plan, start, stop):
            segment = make(begin, end, groups)
            yield segment, unwrapped(stream.execute(segment, reads))

    @property
    def _intake_errors(self) -> int:
        return self._ledger.counts["intake"].quarantined * self.plan.intake.samples_per_image

    def _choose(self, position: int) -> None:
        """Let a selector choose among all rows that reach it."""
        selector = self.plan.stages[position]
        assert isinstance(selector, Selector)
        started = time.perf_counter()
        offers: list[choosing.Offer] = []
        places: dict[int, pa.Table] = {}
        for part, (table, passages) in zip(
            self._chunks, self._map(lambda part: self._walk(part, position + 1)), strict=True
        ):
            entered, decided = passages[-1].entered, self._decided.get(part.index)
            duplicates = self._duplicates[part.index]
            offers.append(choosing.Offer(part.index, duplicates, chunk.pack(entered), table.num_rows, decided))
            places[part.index] = members.places(part.index, table)
        over = partial(in_order, self._over_chunks)
        table = choosing.choose(self.run, self.plan, self._prints, position, offers, over)
        for index, added in choosing.handed_back(selector, table, places).items():
            before = self._decided.get(index)
            for name in added.column_names if before else ():
                before = before.append_column(name, added[name])
            self._decided[index] = before or added
        self._ledger.took(selector.name, table.num_rows, time.perf_counter() - started)

    def _count(self) -> None:
        """Walk over everything once more: count, check the sums, write decisions and quarantine."""
        self._tally()
        pending = {name: count.pending for name, count in self._ledger.counts.items() if count.pending}
        if pending:
            raise ConservationError(f"rows were left uncomputed: {pending}")

    def _tally(self) -> None:
        """The counts, decisions and quarantine of what stands, finished or not."""
        intake = self._ledger.counts["intake"]
        rows = (intake.entered, intake.duplicate, intake.quarantined)
        self._ledger.reset()
        self._ledger.add_intake(*rows)
        record.write_decisions(self.run, self.plan, self._walked())
        self._ledger.check(self.plan.intake.samples_per_image)
        record.write_quarantine(self.run, record.quarantine_rows(self.run, self._chunks, self._walk))

    def _walked(self) -> Iterator[tuple[pa.Table, list[Passage]]]:
        """Every chunk's way through the plan, counted as it goes by."""
        for part, (table, passages) in zip(self._chunks, self._map(self._walk), strict=True):
            self._ledger.add(passages)
            alive = passages[-1].kept if passages else np.ones(table.num_rows, dtype=bool)
            self._alive[part.index] = chunk.pack(alive)
            yield table, passages

    def _check_error_count(self, errors: int) -> None:
        total = self._rows * self.plan.intake.samples_per_image
        limit = self.plan.run.max_error_fraction
        if total and errors / total > limit:
            raise TooManyErrors(
                f"{errors} of {total} rows ({errors / total:.1%}) are in quarantine so far, more than "
                f"max_error_fraction {limit:.1%}. The reasons are in {self.run.url}/quarantine; what was computed is "
                "kept. To go on all the same, run again with "
                f"run.max_error_fraction={min(1.0, round(errors / total + 0.01, 2))} or more"
            )

    def _check_errors(self) -> None:
        counts = self._ledger.counts
        self._check_error_count(
            self._intake_errors + sum(count.quarantined for name, count in counts.items() if name != "intake")
        )

    def _write_product(self) -> dict[str, Any]:
        """The sinks' parts, chunk by chunk, then what needs the whole; ``run.json`` last."""
        indices = [part.index for part in self._chunks]
        to = product.product_schema(self.run, self.plan, self._prints, indices)
        calls = [
            (
                self.run.url,
                self.plan,
                self._prints,
                index,
                self._duplicates[index],
                self._alive[index],
                to,
                self._decided.get(index),
            )
            for index in indices
        ]
        rows = digest = 0
        for _, count, part_digest in self._over_chunks(product.write_chunk, calls):
            rows += count
            digest = (digest + part_digest) % 2**128
        last = list(self._ledger.counts.values())[-1]
        expected = last.kept * (self.plan.intake.samples_per_image if last.kind == "intake" else 1)
        if rows != expected:
            raise ConservationError(f"{expected} rows were kept and {rows} were written")
        result = self._summary("done") | {"rows": rows, "content_hash": f"{digest:032x}"}
        card = {
            "plan": self.plan.model_dump(mode="json"),
            "counts": result["stages"],
            "content_hash": result["content_hash"],
            "rows": rows,
            "versions": result["versions"],
        }
        for sink in self.plan.sinks:
            sink.finish(self.run, indices, card)
        self.run.write_json(RUN_FILE, result)
        return result

    def _summary(self, state: str) -> dict[str, Any]:
        return {
            "state": state,
            "plan": self.plan.name,
            "seed": self.plan.seed,
            "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._begun)),
            "seconds": round(time.time() - self._begun, 3),
            "chunks": len(self._chunks),
            "rows_in": self._rows,
            "stages": self._ledger.as_json(),
            "fingerprints": self._prints,
            "versions": record.versions(),
        }

    def _save(self, state: str) -> None:
        self.run.write_json(RUN_FILE, self._summary(state))

    def _save_failure(self, error: BaseException) -> None:
        """Leave the state and the quarantine behind, as far as the disk allows."""
        try:
            stopped = isinstance(error, TooManyErrors)
            if stopped:
                self._tally()
            summary = self._summary("stopped" if stopped else "failed")
            self.run.write_json(RUN_FILE, summary | {"error": f"{type(error).__name__}: {error}"})
        except OSError as second:
            logger.warning("could not write %s: %s", RUN_FILE, second)

    def _clean(self) -> None:
        """Remove the files of chunks that are gone, notes about batches, and what killed writers left."""
        current = {chunk.images_file(part.index) for part in self._chunks}
        current |= {chunk.samples_file(part.index) for part in self._chunks}
        for folder in ("images", "samples"):
            for name in self.run.list(folder):
                if f"{folder}/{name}" not in current:
                    self.run.remove(f"{folder}/{name}")
        self.run.remove_tree(NOTES)
        self.run.remove_tree(choosing.SCRATCH)
        self.run.remove_unfinished()
