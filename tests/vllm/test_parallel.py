"""A model that two processes share, each with half of every layer."""

import asyncio
import os

import pytest

from potstill.models.engines import loop
from potstill.models.engines.protocol import Request, Sampling
from potstill.models.engines.settings import TransformersEngine, VllmEngine
from tests.conftest import ROOT

pytestmark = [pytest.mark.vllm, pytest.mark.filterwarnings("default")]


def ask(engine, requests):
    async def gather():
        return await asyncio.gather(*map(engine.generate, requests))

    return loop.run(gather())


def test_two_processes_answer_as_one_does(monkeypatch):
    from PIL import Image

    first, second, *_ = sorted(os.sched_getaffinity(0))
    monkeypatch.setenv("VLLM_CPU_OMP_THREADS_BIND", f"{first}|{second}")
    shared = VllmEngine(
        model="tiny", tensor_parallel_size=2, max_num_seqs=8, max_model_len=512, kv_cache_gib=0.25, enforce_eager=True
    ).build()
    words = [{"type": "image"}, {"type": "text", "text": "Describe the picture."}]
    requests = []
    for path in sorted((ROOT / "samples").glob("scene-0*"))[:4]:
        asked = {"messages": [{"role": "user", "content": words}], "images": (Image.open(path).convert("RGB"),)}
        requests += [Request(**asked, sampling=Sampling(max_tokens=16)), Request(**asked, choices=("1", "2", "3"))]
    for reply, same in zip(ask(shared, requests), ask(TransformersEngine(model="tiny").build(), requests), strict=True):
        assert (reply.text, reply.prompt_tokens, reply.completion_tokens) == (
            same.text,
            same.prompt_tokens,
            same.completion_tokens,
        )
        if same.choice_logprobs:
            assert reply.choice_logprobs == pytest.approx(same.choice_logprobs, abs=2e-3)
