"""The prompts of the Oasis passes of `benchmarks/cascade.py` through one `ray.data.llm` processor.

    RAY_AUTH_MODE=disabled .venv-vllm/bin/python -m benchmarks.cascade_ray_llm --rows 48

All prompts of all steps are given at once, in one engine with a prefix cache. A chain of processors, one for each step,
has an engine for each and waits for the step before, so that this is more than a chain can reach. Rows/s count from the
first reply: the engine's start is left out.
"""

from __future__ import annotations

import argparse
import io
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.cascade import Meter, make_model, passes, pictures
from benchmarks.common import print_table
from potstill.models.engines.settings import VllmEngine

SEQUENCES = 64


def prompts(model: Path, count: int) -> list[dict[str, Any]]:
    """What the separate passes ask about so many rows."""
    engine = VllmEngine(model=str(model), kv_cache_gib=2, max_num_seqs=SEQUENCES, enforce_eager=True)
    meter, asked = Meter(engine.build()), []

    def cold() -> None:
        asked.extend(meter.asked)
        meter.clear()

    passes(engine, pictures(count), cold)
    cold()
    meter.engine._engine.shutdown()
    return [_row(*each) for each in asked]


def _row(prompt: str, images: list[Image.Image], params: Any) -> dict[str, Any]:
    buffer = io.BytesIO()
    if images:
        images[0].save(buffer, "JPEG", quality=90)
    sampling = {name: getattr(params, name) for name in ("max_tokens", "min_tokens", "temperature", "top_k")}
    return {"text": prompt, "picture": buffer.getvalue(), **sampling}


def before(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as the processor wants it."""
    names = ("max_tokens", "min_tokens", "temperature", "top_k")
    asked = {"prompt": row["text"], "sampling_params": {name: row[name] for name in names}}
    if row["picture"]:
        asked["multimodal_data"] = {"image": Image.open(io.BytesIO(row["picture"])).convert("RGB")}
    return asked


def after(row: Mapping[str, Any]) -> dict[str, Any]:
    """When a reply was there."""
    return {"at": time.time(), "error": str(row.get("__inference_error__") or "")}


def main() -> None:
    """Run and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=48)
    count = parser.parse_args().rows
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")  # GiB; the processor takes no setting for it
    with tempfile.TemporaryDirectory() as folder:
        model = make_model(Path(folder) / "model")
        rows = prompts(model, count)
        import ray
        from ray.data.llm import build_processor, vLLMEngineProcessorConfig

        ray.init(address="local", num_cpus=3, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
        engine = {
            "dtype": "float32", "enforce_eager": True, "max_num_seqs": SEQUENCES, "limit_mm_per_prompt": {"image": 1},
            "enable_chunked_prefill": False, "block_size": 32, "enable_prefix_caching": True,
        }  # fmt: skip
        config = vLLMEngineProcessorConfig(
            model_source=str(model),
            batch_size=32,
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
        blocks = ray.data.from_items(rows, override_num_blocks=max(1, len(rows) // 32))
        replies = build_processor(config, preprocess=before, postprocess=after)(blocks).take_all()
        assert not any(reply["error"] for reply in replies), replies
        times = sorted(reply["at"] for reply in replies)
        later = sum(at > times[0] + 0.5 for at in times)
        share = later / len(times)
        print_table(["prompts", "rows/s"], [[len(rows), count * share / (times[-1] - times[0])]])


if __name__ == "__main__":
    main()
