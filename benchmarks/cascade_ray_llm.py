"""The Oasis cascade against the same steps as a chain of `ray.data.llm` processors, in one run: rows/s.

    RAY_AUTH_MODE=disabled .venv-vllm/bin/python -m benchmarks.cascade_ray_llm --rows 48

Each step is a processor with an engine of its own, asked what the separate passes of `benchmarks/cascade.py` ask at
that step. The processors run one after the other, each with the whole machine, and their seconds count from the replies
to a first batch of one-token prompts, so that neither the start of an engine nor the wait for the step before is held
against the chain. A second form is kinder still: all prompts of all steps given at once to one processor, which no
chain can do. The cascade runs before and after.
"""

from __future__ import annotations

import argparse
import io
import math
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.cascade import BOUNDS, Meter, cascade, make_model, passes, pictures
from benchmarks.common import print_table
from potstill.models.engines.settings import VllmEngine

SEQUENCES = 64
BATCH = 32


def prompts(meter: Meter, engine: VllmEngine, count: int) -> list[list[dict[str, Any]]]:
    """What each of the separate passes asks about so many rows."""
    steps: list[list[dict[str, Any]]] = []

    def cold() -> None:
        steps.append([_row(*each) for each in meter.asked])
        meter.clear()

    meter.clear()
    passes(engine, pictures(count), cold)
    cold()
    return [step for step in steps if step]


def _row(prompt: str, images: list[Image.Image], params: Any) -> dict[str, Any]:
    buffer = io.BytesIO()
    if images:
        images[0].save(buffer, "JPEG", quality=90)
    sampling = {name: getattr(params, name) for name in ("max_tokens", "min_tokens", "temperature", "top_k")}
    return {"text": prompt, "picture": buffer.getvalue(), "warm": False, **sampling}


def before(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as the processor wants it."""
    names = ("max_tokens", "min_tokens", "temperature", "top_k")
    asked = {"prompt": row["text"], "sampling_params": {name: row[name] for name in names}}
    if row["picture"]:
        asked["multimodal_data"] = {"image": Image.open(io.BytesIO(row["picture"])).convert("RGB")}
    return asked


def after(row: Mapping[str, Any]) -> dict[str, Any]:
    """When a reply was there."""
    return {"at": time.time(), "warm": row["warm"], "error": str(row.get("__inference_error__") or "")}


def processor(model: Path) -> Any:
    """A processor with the settings of the product's engine."""
    from ray.data.llm import build_processor, vLLMEngineProcessorConfig

    engine = {
        "dtype": "float32", "enforce_eager": True, "max_num_seqs": SEQUENCES, "limit_mm_per_prompt": {"image": 1},
        "enable_chunked_prefill": False, "block_size": 32, "enable_prefix_caching": True,
    }  # fmt: skip
    config = vLLMEngineProcessorConfig(
        model_source=str(model),
        batch_size=BATCH,
        concurrency=1,
        max_concurrent_batches=4,
        engine_kwargs=engine,
        placement_group_config={"bundles": [{"CPU": 1}]},
        log_engine_metrics=False,
        should_continue_on_error=True,
        chat_template_stage=False,
        tokenize_stage=False,
        detokenize_stage=False,
    )
    return build_processor(config, preprocess=before, postprocess=after)


def answered(model: Path, rows: list[dict[str, Any]]) -> float:
    """Seconds of one processor for these prompts, from when its engine is up."""
    import ray

    one = {"min_tokens": 1, "max_tokens": 1, "temperature": 0.0, "top_k": 0}
    warm = [{"text": f"{number}", "picture": b"", "warm": True, **one} for number in range(BATCH)]
    blocks = ray.data.from_items(warm, override_num_blocks=1)
    blocks = blocks.union(ray.data.from_items(rows, override_num_blocks=math.ceil(len(rows) / BATCH)))
    replies = processor(model)(blocks).take_all()
    assert len(replies) == BATCH + len(rows) and not any(reply["error"] for reply in replies), replies
    return max(reply["at"] for reply in replies) - max(reply["at"] for reply in replies if reply["warm"])


def main() -> None:
    """Run and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=48)
    count = parser.parse_args().rows
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")  # GiB; the processor takes no setting for it
    with tempfile.TemporaryDirectory() as folder:
        model = make_model(Path(folder) / "model")
        own = VllmEngine(model=str(model), kv_cache_gib=2, max_num_seqs=SEQUENCES, enforce_eager=True)
        meter, rows = Meter(own.build()), pictures(count)

        def run_cascade() -> float:
            meter.clear()
            started = time.perf_counter()
            cascade(own, rows, BOUNDS)
            return time.perf_counter() - started

        cascade(own, rows.slice(0, 8), BOUNDS)
        steps = prompts(meter, own, count)
        import ray

        first = run_cascade()
        ray.init(address="local", num_cpus=3, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
        chain = [answered(model, step) for step in steps]
        together = answered(model, [row for step in steps for row in step])
        last = run_cascade()
        table = [
            ["cascade, before", "", count / first],
            *(
                ["", f"step {number}: {len(step)} prompts", len(step) / took]
                for number, (step, took) in enumerate(zip(steps, chain, strict=True), 1)
            ),
            ["chain of processors", sum(map(len, steps)), count / sum(chain)],
            ["one processor, all prompts at once", sum(map(len, steps)), count / together],
            ["cascade, after", "", count / last],
        ]
        print_table(["arm", "prompts", "rows/s"], table)
        ours = (first + last) / 2
        print(f"cascade / chain: {sum(chain) / ours:.2f}, cascade / one processor: {together / ours:.2f}")


if __name__ == "__main__":
    main()
