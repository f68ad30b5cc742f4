"""The engine against a real HTTP server on loopback that answers what a test says, attempt by attempt."""

import asyncio
import base64
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from potstill.config import RequestError, validate
from potstill.models.engines import loop, openai
from potstill.models.engines.protocol import Request, Sampling
from potstill.models.engines.settings import OpenaiEngine

KEY = "sk-0123456789"


def answer(text="fine", reason="stop", logprobs=None):
    choice = {"message": {"content": text}, "finish_reason": reason, "logprobs": logprobs}
    return 200, {}, {"choices": [choice], "usage": {"prompt_tokens": 7, "completion_tokens": 2}}


class Server:
    """Replies ``script(n, body)`` = (status, headers, JSON) to the n-th request; status 0 hangs up."""

    def __init__(self, script):
        self.bodies, self.headers, self.times, self.paths = [], [], [], []
        self.busy = self.most_busy = 0
        lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                with lock:
                    number = len(server.bodies)
                    server.bodies.append(body)
                    server.headers.append(self.headers)
                    server.times.append(time.monotonic())
                    server.paths.append(self.path)
                    server.busy += 1
                    server.most_busy = max(server.most_busy, server.busy)
                status, headers, reply = script(number, body)
                with lock:
                    server.busy -= 1
                if not status:
                    self.close_connection = True
                    return
                data = reply.encode() if isinstance(reply, str) else json.dumps(reply).encode()
                self.send_response(status)
                for name, value in {**headers, "content-length": len(data)}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}/v1"
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def close(self):
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture
def serve(monkeypatch):
    """Start a server and give an engine that talks to it, with pauses a hundredth as long."""
    monkeypatch.setattr(openai, "FIRST_PAUSE", 0.005)
    started = []

    def start(script, **settings):
        server = Server(script)
        engine = openai.load(OpenaiEngine(base_url=server.url, model="m", **settings))
        started.append((server, engine))
        return server, engine

    yield start
    for server, engine in started:
        loop.run(engine._client.aclose())
        server.close()


def ask(engine, *requests):
    async def gather():
        return await asyncio.gather(*map(engine.generate, requests), return_exceptions=True)

    return loop.run(gather())


def turn(text, image=False):
    return {"role": "user", "content": [*([{"type": "image"}] if image else []), {"type": "text", "text": text}]}


HELLO = Request([turn("hello")], sampling=Sampling(seed=3))


def test_a_request_carries_everything_and_a_reply_comes_back(serve):
    server, engine = serve(lambda number, body: answer("a dog", "length"), server="vllm")
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (5, 4, 3), dtype=np.uint8))
    sampling = Sampling(
        temperature=0.5, top_k=20, top_p=0.9, max_tokens=30, min_tokens=2, frequency_penalty=0.1, presence_penalty=0.2,
        stop=("END",), seed=2**63 + 5,
    )  # fmt: skip
    system = {"role": "system", "content": "be brief"}
    (reply,) = ask(engine, Request([system, turn("what?", True)], images=(picture,), sampling=sampling))
    assert (reply.text, reply.prompt_tokens, reply.completion_tokens, reply.finish_reason) == ("a dog", 7, 2, "length")
    assert server.paths == ["/v1/chat/completions"]
    (body,) = server.bodies
    messages = body.pop("messages")
    assert body == {
        "model": "m", "temperature": 0.5, "top_p": 0.9, "max_tokens": 30, "frequency_penalty": 0.1,
        "presence_penalty": 0.2, "seed": 5, "stop": ["END"], "top_k": 20, "min_tokens": 2,
    }  # fmt: skip
    assert messages[0] == system
    shown, said = messages[1]["content"]
    assert said == {"type": "text", "text": "what?"}
    head, _, data = shown["image_url"]["url"].partition(",")
    assert head == "data:image/png;base64"
    assert np.array_equal(np.asarray(Image.open(BytesIO(base64.b64decode(data)))), np.asarray(picture))


def test_log_probabilities_are_read(serve):
    steps = [{"token": "a", "logprob": -0.1, "top_logprobs": [{"token": "a", "logprob": -0.1}]}]
    _, engine = serve(lambda number, body: answer(logprobs={"content": steps}))
    (reply,) = ask(engine, Request([turn("x")], sampling=Sampling(logprobs=1)))
    assert (reply.token_logprobs, reply.top_logprobs) == ((-0.1,), ({"a": -0.1},))


@pytest.mark.parametrize("status", [408, 429, 500, 503, 0])
def test_what_may_pass_is_tried_again(serve, status):
    server, engine = serve(lambda number, body: answer() if number == 2 else (status, {}, "later"))
    assert ask(engine, HELLO)[0].text == "fine"
    assert server.bodies == [server.bodies[0]] * 3


@pytest.mark.parametrize("status", [400, 401, 404, 413, 422])
def test_a_refused_request_is_not_sent_again(serve, status):
    server, engine = serve(lambda number, body: (status, {}, "too long"))
    with pytest.raises(ValueError, match=f"refuses the request: {status} too long"):
        raise ask(engine, HELLO)[0]
    assert len(server.bodies) == 1


def test_tries_are_counted_and_then_the_request_fails(serve):
    server, engine = serve(lambda number, body: (503, {}, "busy"), tries=3)
    with pytest.raises(ConnectionError, match=r"no answer in 3 tries, at last 503 busy; .*raise `tries`"):
        raise ask(engine, HELLO)[0]
    assert len(server.bodies) == 3


def test_a_server_that_is_not_there_is_a_connection_error(serve):
    server, engine = serve(lambda number, body: answer(), tries=2)
    server.close()
    with pytest.raises(ConnectionError, match="no answer in 2 tries, at last ConnectError"):
        raise ask(engine, HELLO)[0]


def test_a_server_that_takes_too_long_is_asked_again(serve):
    def slow_once(number, body):
        time.sleep(0.6 if number == 0 else 0)
        return answer(f"reply {number}")

    _, engine = serve(slow_once, timeout_s=0.25)
    assert ask(engine, HELLO)[0].text == "reply 1"


def test_the_server_says_how_long_to_wait(serve):
    server, engine = serve(lambda number, body: answer() if number else (429, {"retry-after": "0.4"}, ""))
    ask(engine, HELLO)
    assert server.times[1] - server.times[0] >= 0.4


@pytest.mark.parametrize(
    ("header", "seconds"),
    [(None, 7), ("", 7), ("3", 3), ("-1", 0), ("9999", 60), ("soon", 7), ("Thu, 01 Jan 1970 00:00:00 GMT", 0)],
)
def test_the_pause_a_server_asks_for_is_a_number_or_a_date(header, seconds):
    assert openai._asked_pause(header, 7) == seconds


def test_no_more_requests_are_under_way_than_allowed(serve):
    def slow(number, body):
        time.sleep(0.02)
        return answer(body["messages"][0]["content"][0]["text"])

    server, engine = serve(slow, max_in_flight=3)
    replies = ask(engine, *(Request([turn(str(index))]) for index in range(12)))
    assert [reply.text for reply in replies] == [str(index) for index in range(12)]
    assert server.most_busy == 3


def test_requests_are_sent_no_faster_than_allowed(serve):
    server, engine = serve(lambda number, body: answer(), requests_per_second=20)
    ask(engine, *[HELLO] * 6)
    assert max(server.times) - min(server.times) >= 5 / 20 - 0.02


def test_one_bad_request_costs_one_request(serve):
    _, engine = serve(lambda number, body: answer())
    bad = {
        "takes messages only": Request(prompt="x"),
        "more image parts than": Request([turn("x", True)]),
        "holds 1 images and fewer": Request([turn("x")], images=(Image.new("RGB", (2, 2)),)),
        "knows no top_k": Request([turn("x")], sampling=Sampling(top_k=5)),
        "knows no structured_outputs; set `server: vllm`": Request([turn("x")], choices=("a", "b")),
    }
    replies = ask(engine, HELLO, *bad.values(), HELLO)
    assert replies[0].text == replies[-1].text == "fine"
    for message, reply in zip(bad, replies[1:-1], strict=True):
        with pytest.raises(ValueError, match=message):
            raise reply
    with pytest.raises(ValueError, match="Oasis needs an engine of kind vllm or transformers"):
        engine.hook_prompt()


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        ((200, {}, "<html>"), "something else than JSON: <html>"),
        ((200, {}, {"choices": []}), "the server's answer lacks"),
        (answer(None, "content_filter"), "another reason than its end or its length: 'content_filter'"),
    ],
    ids=["html", "empty", "withheld"],
)
def test_an_answer_that_is_none_is_the_requests_error(serve, reply, message):
    _, engine = serve(lambda number, body: reply)
    with pytest.raises(ValueError, match=message):
        raise ask(engine, HELLO)[0]


def test_the_key_comes_from_the_environment_and_is_told_to_nobody(serve, monkeypatch, caplog):
    monkeypatch.setenv("POTSTILL_TEST_KEY", KEY)
    server, engine = serve(lambda number, body: (401, {}, f"wrong key {KEY}"), api_key_env="POTSTILL_TEST_KEY")
    with caplog.at_level("DEBUG"), pytest.raises(ValueError, match=r"401 wrong key \*\*\*") as caught:
        raise ask(engine, HELLO)[0]
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"
    assert KEY not in caplog.text + str(caught.value) + engine._settings.model_dump_json()
    monkeypatch.delenv("POTSTILL_TEST_KEY")
    with pytest.raises(ValueError, match="POTSTILL_TEST_KEY holds no key"):
        engine._settings._load()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("localhost:8000/v1", "must begin with http"),
        ("http://", "name a host"),
        ("http://me:secret@host/v1", "neither a key nor a query"),
        ("https://host/v1?key=secret", "neither a key nor a query"),
    ],
)
def test_an_address_that_cannot_be_or_holds_a_secret_is_refused(url, message):
    with pytest.raises(RequestError, match=f"base_url: .*{message}"):
        validate(OpenaiEngine, {"base_url": url, "model": "m"}, "engine")
