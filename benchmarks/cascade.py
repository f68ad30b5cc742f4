"""The Oasis cascade against the same steps as separate passes, on real vLLM: rows/s and prefill tokens per kept row.

    .venv-vllm/bin/python -m benchmarks.cascade --rows 96

The model has random weights and the shape of a real one where it matters: 576 tokens for a picture of 672 pixels. It
writes nonsense, so lengths are fixed and what is read from a reply is drawn from the sample's id with the shares below;
prompts, steps, early exits and gates are the product's own. Arms:

- cascade: `oasis_instruct`, `oasis_judge` with `stop_below`, gate, `respond`, two chunks under way in one engine;
- all scores: the same without `stop_below`, so that every threshold may change later for nothing;
- passes: each step over all rows, then the next, every pass with a cold engine, all four judges for every instruction,
  as the published code does it;
- bare: the cascade's own prompts, built before, given to vLLM all at once: the engine's ceiling.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash
from PIL import Image

from benchmarks.common import print_table
from potstill.models.engines import loop
from potstill.models.engines.settings import TINY_FOLDER, VllmEngine
from potstill.pipelines.synthesizers.oasis import JUDGES, OasisInstruct, OasisJudge
from potstill.pipelines.synthesizers.respond import Respond
from potstill.pipelines.synthesizers.synthesizer import Reject, Step, Synthesizer

SIDE, PATCH = 672, 28
LENGTH = {"hook": 60, "extract": 30, **dict.fromkeys(JUDGES, 48), "respond": 96}
"""New tokens of each step."""
FAILS = {"extract": 0.3, "nonsense": 0.1, "solvability": 0.2, "clarity": 0.1, "hallucination": 0.3}
"""Share of the rows that reach a step and fail it."""
QUESTION = "What are the people on the left side of the street doing, and which of them carries the red umbrella?"
BOUNDS = {"nonsense": 5, "solvability": 3, "clarity": 3, "hallucination": 5}
CHUNK = 32


def make_model(folder: Path) -> Path:
    """The embedded model's tokenizer and template around random weights that see 576 tokens in a picture."""
    import torch
    from transformers import AutoConfig, AutoModelForImageTextToText

    shutil.copytree(TINY_FOLDER, folder, ignore=shutil.ignore_patterns("*.safetensors", "*.md"))
    processor = json.loads((folder / "processor_config.json").read_text())
    processor["image_seq_len"] = (SIDE // PATCH) ** 2
    for size in ("size", "max_image_size"):
        processor["image_processor"][size] = {"longest_edge": SIDE}
    (folder / "processor_config.json").write_text(json.dumps(processor))
    config = AutoConfig.from_pretrained(folder)
    config.vision_config.image_size, config.vision_config.patch_size = SIDE, PATCH
    config.text_config.max_position_embeddings = 4096
    torch.manual_seed(0)
    model = AutoModelForImageTextToText.from_config(config, dtype=torch.float32)
    model.save_pretrained(folder)
    return folder


def pictures(count: int) -> pa.Table:
    """Different pictures of :data:`SIDE` pixels, as rows."""
    rng, rows = np.random.default_rng(0), []
    for _ in range(count):
        picture = Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)).resize((SIDE, SIDE))
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=90)
        rows.append(buffer.getvalue())
    ids = [xxhash.xxh3_128_hexdigest(data) for data in rows]
    return pa.table({"sample_id": ids, "image_id": ids, "image": pa.array(rows, pa.large_binary())})


def canned(step: Step, columns: Sequence[str]) -> Step:
    """The step with replies of fixed length, and with an outcome that is drawn from the sample's id."""

    def ask(row: Mapping[str, Any]) -> Any:
        request = step.ask(row)
        length = LENGTH[step.name]
        return replace(request, sampling=replace(request.sampling, min_tokens=length, max_tokens=length))

    def read(row: Mapping[str, Any], reply: Any) -> Any:
        fails = fails_at(row["sample_id"], step.name)
        if step.name in JUDGES:
            return {step.name: 2 if fails else 5}
        if fails:
            return Reject("canned")
        return {name: "stop" if name.endswith("finish_reason") else QUESTION for name in columns}

    return replace(step, ask=ask, read=read)


def fails_at(sample: str, step: str) -> bool:
    """Whether a sample does not pass a step."""
    return xxhash.xxh3_64_intdigest(f"{sample}/{step}".encode()) / 2**64 < FAILS.get(step, 0)


def with_canned(kind: type[Synthesizer], only: Sequence[str] | None = None) -> type[Synthesizer]:
    """The synthesizer with canned replies, maybe with some of its steps only."""

    def steps(self: Synthesizer, engine: Any) -> list[Step]:
        own = {"hook": list(self.columns())[1:], "extract": list(self.columns())[:1]}
        every = [step for step in kind.steps(self, engine) if not only or step.name in only]
        return [
            canned(step, own.get(step.name, list(self.columns()))) for step in every if not only or step.name in only
        ]

    return type(kind.__name__, (kind,), {"steps": steps, "__module__": __name__})


class Meter:
    """Counts the tokens that an engine computes, and keeps what it was asked."""

    def __init__(self, engine: Any) -> None:
        self.engine, self._inner = engine, engine._run
        engine._run = self._run
        self.clear()

    def clear(self) -> None:
        """Forget what was counted, and every cached prefix and picture."""
        self.prompt = self.computed = 0
        self.asked: list[tuple[Any, ...]] = []
        loop.run(self.engine._engine.reset_prefix_cache())
        loop.run(self.engine._engine.reset_mm_cache())

    async def _run(self, prompt: str, images: Sequence[Any], params: Any) -> Any:
        output = await self._inner(prompt, images, params)
        self.prompt += len(output.prompt_token_ids)
        self.computed += len(output.prompt_token_ids) - (output.num_cached_tokens or 0)
        self.asked.append((prompt, images, params))
        return output

    def replay(self, asked: Sequence[tuple[Any, ...]]) -> None:
        """Give the engine all prompts at once."""

        async def every() -> None:
            await asyncio.gather(*(self._inner(*each) for each in asked))

        loop.run(every())


def add(rows: pa.Table, written: Mapping[str, Any]) -> pa.Table:
    """Rows with new columns."""
    for name, values in written.items():
        if name != "error":
            rows = rows.append_column(name, pa.array(values) if isinstance(values, list) else values)
    assert all(error is None for error in written.get("error", [])), written["error"]
    return rows


def kept(rows: pa.Table, column: str) -> pa.Table:
    """Rows without a reason to go no further."""
    return rows.filter(rows[column].is_null())


def gate(rows: pa.Table) -> pa.Table:
    """Rows whose every score is within its bound."""
    passes = [all((row[name] or 0) >= bound for name, bound in BOUNDS.items()) for row in rows.to_pylist()]
    return rows.filter(pa.array(passes, pa.bool_()))


def cascade(engine: VllmEngine, rows: pa.Table, stop_below: Mapping[str, int]) -> int:
    """Rows kept by the product's stages, chunk by chunk, two chunks under way."""
    instruct = with_canned(OasisInstruct)(name="oasis_instruct", engine=engine).build()
    judge = with_canned(OasisJudge)(name="oasis_judge", engine=engine, stop_below=dict(stop_below)).build()
    respond = with_canned(Respond)(name="respond", engine=engine).build()

    def chunk(start: int) -> int:
        part = rows.slice(start, CHUNK)
        part = kept(add(part, instruct(part)), "oasis_instruct_reason")
        part = gate(add(part, judge(part)))
        return add(part, respond(part)).num_rows

    with ThreadPoolExecutor(2) as pool:
        return sum(pool.map(chunk, range(0, rows.num_rows, CHUNK)))


def passes(engine: VllmEngine, rows: pa.Table, clear: Callable[[], None]) -> int:
    """Rows kept by one pass after the other, each with a cold engine."""
    for names, kind in (("hook",), OasisInstruct), (("extract",), OasisInstruct):
        stage = with_canned(kind, names)(name="oasis_instruct", engine=engine)
        clear()
        written = stage.build()(rows)
        own = list(stage.columns())[:1] if names == ("extract",) else list(stage.columns())[1:]
        wanted = {name: written[name] for name in (*own, *(["oasis_instruct_reason"] if names == ("extract",) else []))}
        rows = add(rows, wanted)
    rows = kept(rows, "oasis_instruct_reason")
    for name in JUDGES:
        clear()
        rows = add(rows, {name: with_canned(OasisJudge, [name])(name="oasis_judge", engine=engine).build()(rows)[name]})
    rows = gate(rows)
    clear()
    return add(rows, with_canned(Respond)(name="respond", engine=engine).build()(rows)).num_rows


def main() -> None:
    """Run the arms in turn and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=96)
    parser.add_argument("--repeats", type=int, default=2)
    settings = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = make_model(Path(folder) / "model")
        engine = VllmEngine(model=str(model), kv_cache_gib=2, max_num_seqs=64, enforce_eager=True)
        meter, rows = Meter(engine.build()), pictures(settings.rows)
        totals = {"prompt": 0, "computed": 0}

        def cold() -> None:
            totals["prompt"] += meter.prompt
            totals["computed"] += meter.computed
            meter.clear()

        arms: dict[str, Callable[[], int]] = {
            "passes": lambda: passes(engine, rows, cold),
            "all scores": lambda: cascade(engine, rows, {}),
            "cascade": lambda: cascade(engine, rows, BOUNDS),
        }
        cascade(engine, rows.slice(0, 8), BOUNDS)
        table = []
        for _ in range(settings.repeats):
            for name, arm in arms.items():
                cold()
                totals.update(prompt=0, computed=0)
                started = time.perf_counter()
                count = arm()
                seconds = time.perf_counter() - started
                asked = list(meter.asked)
                cold()
                per_row = (totals["prompt"] / count, totals["computed"] / count)
                table.append([name, count, *map(round, per_row), settings.rows / seconds, ""])
            started = time.perf_counter()
            meter.replay(asked)
            share = (time.perf_counter() - started) / seconds
            table.append(["bare", count, "", "", settings.rows / (seconds * share), f"cascade {share:.0%} of it"])
        print_table(["arm", "kept", "prompt tokens/kept", "computed/kept", "rows/s", ""], table)


if __name__ == "__main__":
    main()
