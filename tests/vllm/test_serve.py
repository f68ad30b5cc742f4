"""The engine for servers against a real ``vllm serve`` on loopback."""

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import replace

import pytest
from PIL import Image

from potstill.models.engines import loop
from potstill.models.engines.protocol import Request, Sampling
from potstill.models.engines.settings import TINY_FOLDER, OpenaiEngine, TransformersEngine
from tests.conftest import ROOT

pytestmark = [pytest.mark.vllm, pytest.mark.filterwarnings("default")]

PATIENCE = 900
KEY = "sk-loopback"
SERVE = "vllm.entrypoints.openai.api_server"
"""What ``vllm serve`` runs; that command itself cannot start in the CPU build, which is packaged under another name."""


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    port = free_port()
    log = tmp_path_factory.mktemp("serve") / "log"
    command = [
        sys.executable, "-m", SERVE, "--model", str(TINY_FOLDER), "--served-model-name", "tiny",
        "--host", "127.0.0.1", "--port", str(port), "--api-key", KEY, "--dtype", "float32", "--enforce-eager",
        "--max-model-len", "512", "--max-num-seqs", "16", "--kv-cache-memory-bytes", str(2**28),
        "--generation-config", "vllm",
        "--structured-outputs-config", '{"backend": "guidance", "disable_any_whitespace": true}',
    ]  # fmt: skip
    environment = os.environ | {"VLLM_LOGGING_LEVEL": "ERROR", "VLLM_NO_USAGE_STATS": "1"}
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
    try:
        end = time.monotonic() + PATIENCE
        while not _answers(f"http://127.0.0.1:{port}/health"):
            assert process.poll() is None and time.monotonic() < end, log.read_text(errors="replace")
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()


def _answers(url):
    try:
        return urllib.request.urlopen(url, timeout=5).status == 200
    except (urllib.error.URLError, OSError):
        return False


@pytest.fixture(scope="module")
def engine(server):
    os.environ["POTSTILL_TEST_KEY"] = KEY
    yield OpenaiEngine(base_url=server, model="tiny", server="vllm", api_key_env="POTSTILL_TEST_KEY").build()
    del os.environ["POTSTILL_TEST_KEY"]


def ask(engine, *requests):
    async def gather():
        return await asyncio.gather(*map(engine.generate, requests), return_exceptions=True)

    return loop.run(gather())


def describe(path, **sampling):
    content = [{"type": "image"}, {"type": "text", "text": "Describe the picture."}]
    picture = Image.open(path).convert("RGB")
    return Request([{"role": "user", "content": content}], images=(picture,), sampling=Sampling(**sampling))


def test_a_server_answers_as_the_local_engine_does(engine):
    paths = sorted((ROOT / "samples").glob("scene-0*"))[:6]
    requests = [describe(path, max_tokens=40) for path in paths]
    local = ask(TransformersEngine(model="tiny").build(), *requests)
    assert ask(engine, *requests) == local
    assert all(reply.text for reply in local)


def test_a_server_takes_seeds_and_limits_and_tells_log_probabilities(engine):
    path = sorted((ROOT / "samples").glob("scene-0*"))[0]
    drawn = [describe(path, temperature=2.0, top_k=20, min_tokens=9, max_tokens=12, seed=seed) for seed in (1, 1, 2, 3)]
    one, same, *others = ask(engine, *drawn)
    assert one == same and any(other.text != one.text for other in others) and one.completion_tokens >= 9
    scored, refused = ask(engine, describe(path, max_tokens=3, logprobs=2), describe(path, max_tokens=3, logprobs=99))
    assert len(scored.token_logprobs) == len(scored.top_logprobs) == 3
    assert all(len(step) == 2 for step in scored.top_logprobs)
    with pytest.raises(ValueError, match="refuses the request: 400"):
        raise refused


@pytest.mark.parametrize(
    "choices", [("1", "2", "3", "4", "5"), ("Score: 1", "Score: 25", "no")], ids=["digits", "long"]
)
def test_choices_are_scored_as_the_local_engine_scores_them(engine, choices):
    paths = sorted((ROOT / "samples").glob("scene-0*"))[:4]
    samplings = [Sampling(), Sampling(temperature=1, seed=5, n=3)]
    requests = [replace(describe(path), choices=choices, sampling=sampling) for path in paths for sampling in samplings]
    for reply, same in zip(
        ask(engine, *requests), ask(TransformersEngine(model="tiny").build(), *requests), strict=True
    ):
        assert reply.choice_logprobs == pytest.approx(same.choice_logprobs, abs=2e-3)
        assert [one.text for one in (reply, *reply.alternatives)] == [one.text for one in (same, *same.alternatives)]
        assert (reply.prompt_tokens, reply.completion_tokens) == (same.prompt_tokens, same.completion_tokens)


def test_a_server_gives_several_replies_and_keeps_to_schema_and_pattern(engine):
    path = sorted((ROOT / "samples").glob("scene-0*"))[0]
    several = describe(path, temperature=2.0, max_tokens=12, seed=4, n=3)
    (reply,) = ask(engine, several)
    each, singles = [reply, *reply.alternatives], ask(engine, *(
        replace(several, sampling=one) for one in several.sampling.each()
    ))  # fmt: skip
    assert [(one.text, one.completion_tokens) for one in each] == [(o.text, o.completion_tokens) for o in singles]
    digits = {"type": "object", "properties": {"dogs": {"enum": [1, 2]}}, "required": ["dogs"]}
    by_schema, by_pattern, refused = ask(
        engine,
        replace(describe(path), schema=digits | {"additionalProperties": False}),
        replace(describe(path), pattern="[0-9]{4}"),
        replace(describe(path), pattern="[0-"),
    )
    assert json.loads(by_schema.text)["dogs"] in (1, 2)
    assert re.fullmatch("[0-9]{4}", by_pattern.text)
    with pytest.raises(ValueError, match="refuses the request: 400"):
        raise refused


def test_the_file_of_a_picture_is_answered_as_its_pixels_are(engine):
    path = sorted((ROOT / "samples").glob("scene-0*"))[1]
    request = describe(path, max_tokens=30)
    assert ask(engine, replace(request, encoded=(path.read_bytes(),))) == ask(engine, request)


def test_a_wrong_key_is_refused(server, monkeypatch):
    monkeypatch.setenv("POTSTILL_WRONG_KEY", "sk-wrong")
    engine = OpenaiEngine(base_url=server, model="tiny", api_key_env="POTSTILL_WRONG_KEY").build()
    with pytest.raises(ValueError, match="401"):
        raise ask(engine, Request([{"role": "user", "content": "hello"}]))[0]
