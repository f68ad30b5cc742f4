"""Requests per second of a stage on vLLM against vLLM's bare loop: like requests, the same engine, in turns.

    .venv-vllm/bin/python -m benchmarks.engine_ceiling [--count 256] [--chunk 64] [--seqs 64] [--rounds 5] [--run]

``bare`` gives ready prompts and decoded pictures to ``AsyncLLM.generate``, all at once: the engine's own ceiling. The
other two are the stage as its actor runs it, over chunks of encoded pictures: decoding, prompts, notes about rows in
flight and columns included; with one chunk at a time, and with as many side by side as the stage asks for. All take
turns on one engine, each time with pictures of their own, so that no cache helps; the best round of each counts.
``--run`` adds a whole ``potstill run`` on Ray with an engine of its own: rows over the seconds in which the stage's
actor had any.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import xxhash

from benchmarks.common import print_table, seconds, write_pictures
from potstill.models.engines import loop
from potstill.models.engines.protocol import Request, Sampling
from potstill.pipelines import pixels, schema
from potstill.pipelines.notes import Note, Turns
from potstill.pipelines.plan import Plan
from potstill.pipelines.rundir import RunDir
from potstill.pipelines.runner import run_plan
from potstill.pipelines.synthesizers.respond import Respond
from potstill.pipelines.synthesizers.synthesizer import user_turn
from potstill.pipelines.worker import compute

TOKENS = 24
QUESTION = "Describe the picture."


def bare(engine: Any, pictures: list[Any], turn: int) -> float:
    """Seconds of vLLM alone over decoded pictures."""
    request = Request([user_turn(QUESTION, image=True)], images=pictures[:1], sampling=Sampling(max_tokens=TOKENS))
    prompt, params = engine._writer.prompt(request), engine._params(request)

    async def one(number: int) -> None:
        text = {"prompt": prompt, "multi_modal_data": {"image": [pictures[number]]}}
        tokens = {"add_special_tokens": False}
        async for _ in engine._engine.generate(text, params, f"bare-{turn}-{number}", tokenization_kwargs=tokens):
            pass

    async def every() -> None:
        await asyncio.gather(*map(one, range(len(pictures))))

    return seconds(lambda: loop.run(every()))


def in_chunks(stage: Respond, fn: Any, files: list[bytes], chunk: int, beside: int, run: RunDir) -> float:
    """Seconds of the stage over chunks, ``beside`` of them at a time."""
    turns, tables = Turns(), []
    for start in range(0, len(files), chunk):
        part = files[start : start + chunk]
        ids = [xxhash.xxh3_128_hexdigest(data) for data in part]
        columns = {schema.SAMPLE_ID: ids, schema.IMAGE_ID: ids, schema.IMAGE: pa.array(part, pa.large_binary())}
        tables.append(pa.table({**columns, schema.INSTRUCTION: [QUESTION] * len(part)}))

    def one(number: int) -> None:
        _, errors = compute(stage, fn, tables[number], stage.batch_rows, Note(run, f"{number}.json", turns))
        assert not any(errors), errors

    with ThreadPoolExecutor(beside) as pool:
        return seconds(lambda: list(pool.map(one, range(len(tables)))))


def whole_run(stage: Respond, source: Path, chunk: int) -> float:
    """Rows per second of the stage in a run on Ray."""
    tree = {
        "source": {"kind": "folder", "path": str(source)},
        "stages": [stage.model_dump(exclude={"name"}) | {"instruction": "caption"}],
        "run": {"chunk_rows": chunk},
    }
    with tempfile.TemporaryDirectory() as out:
        found = next(step for step in run_plan(Plan.model_validate(tree), out)["stages"] if step["name"] == stage.name)
    return found["computed"] / found["seconds"]


def main() -> None:
    """Measure in turns and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=256)
    parser.add_argument("--chunk", type=int, default=64)
    parser.add_argument("--seqs", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--run", action="store_true")
    options = parser.parse_args()
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    settings = {
        "kind": "vllm", "model": "tiny", "max_model_len": 1024, "kv_cache_gib": 0.25, "enforce_eager": True,
        "max_num_seqs": options.seqs,
    }  # fmt: skip
    stage = Respond.model_validate({"engine": settings, "max_tokens": TOKENS})
    rates: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        fn, run = stage.build(), RunDir(Path(folder, "run"))
        for turn in range(options.rounds + 1):  # the first warms up
            measures = {
                "bare": lambda files, turn=turn: bare(stage.engine.build(), [*map(pixels.convert, files)], turn),
                "one chunk": partial(in_chunks, stage, fn, chunk=options.chunk, beside=1, run=run),
                "chunks in flight": partial(
                    in_chunks, stage, fn, chunk=options.chunk, beside=stage.chunks_in_flight(), run=run
                ),
            }
            for place, (name, measure) in enumerate(measures.items()):
                source = write_pictures(Path(folder, f"in-{turn}-{place}"), options.count, seed=1000 * turn + place)
                took = measure(files=[path.read_bytes() for path in sorted(source.glob("*.jpg"))])
                if turn:
                    rates.setdefault(name, []).append(options.count / took)
        if options.run:
            rates["run"] = [whole_run(stage, write_pictures(Path(folder, "in"), options.count, seed=7), options.chunk)]
    best = {name: max(each) for name, each in rates.items()}
    rows = [(name, rate, f"{rate / best['bare']:.1%}") for name, rate in best.items()]
    print_table(("what", "requests/s (best round)", "share of bare"), rows)


if __name__ == "__main__":
    main()
