"""The engine against a real HTTP server on loopback that answers what a test says, attempt by attempt."""

import asyncio
import base64
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from types import SimpleNamespace

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


def answers(*texts):
    """Several replies, the last one first, with a token for each letter."""
    choices = [
        {"index": index, "message": {"content": text}, "finish_reason": "stop", "token_ids": [ord(c) for c in text]}
        for index, text in enumerate(texts)
    ]
    usage = {"prompt_tokens": 7, "completion_tokens": sum(map(len, texts))}
    return 200, {}, {"choices": choices[::-1], "usage": usage}


def test_several_replies_are_counted_one_by_one_and_the_prompt_once(serve):
    server, engine = serve(lambda number, body: answers("one", "three", "a"), server="vllm")
    (reply,) = ask(engine, Request([turn("x")], sampling=Sampling(temperature=1, n=3)))
    assert (server.bodies[0]["n"], server.bodies[0]["return_token_ids"]) == (3, True)
    each = (reply, *reply.alternatives)
    assert [one.text for one in each] == ["one", "three", "a"]
    assert [(one.prompt_tokens, one.completion_tokens) for one in each] == [(7, 3), (0, 5), (0, 1)]


def test_fewer_replies_than_asked_are_the_requests_error(serve):
    _, engine = serve(lambda number, body: answer())
    with pytest.raises(ValueError, match="gave 1 replies instead of 2"):
        raise ask(engine, Request([turn("x")], sampling=Sampling(temperature=1, n=2)))[0]


SCHEMA = {"type": "object", "properties": {"colour": {"type": "string"}}, "required": ["colour"]}


@pytest.mark.parametrize(
    ("server", "bound", "expected"),
    [
        ("vllm", {"schema": SCHEMA}, {"structured_outputs": {"json": SCHEMA}}),
        ("vllm", {"pattern": "[a-z]+"}, {"structured_outputs": {"regex": "[a-z]+"}}),
        (
            "openai",
            {"schema": SCHEMA},
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "reply", "strict": True, "schema": SCHEMA},
                }
            },
        ),
    ],
    ids=["schema", "pattern", "openai"],
)
def test_a_bound_goes_to_the_server_in_its_own_words(serve, server, bound, expected):
    listening, engine = serve(lambda number, body: answer("{}"), server=server)
    assert ask(engine, Request([turn("x")], **bound))[0].text == "{}"
    (body,) = listening.bodies
    assert {name: body[name] for name in ("structured_outputs", "response_format") if name in body} == expected


def saved(picture, kind):
    buffer = BytesIO()
    picture.save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp"])
def test_the_file_that_an_image_was_is_sent_as_it_is_and_others_as_png(serve, kind):
    server, engine = serve(lambda number, body: answer())
    pictures = tuple(Image.new("RGB", (4, 4), (9, 8, blue)) for blue in (1, 2, 3))
    file = saved(pictures[0], kind)
    three = {"role": "user", "content": [{"type": "image"}] * 3}
    ask(engine, Request([three], images=pictures, encoded=(file, None, saved(pictures[2], "bmp"))))
    urls = [part["image_url"]["url"] for part in server.bodies[0]["messages"][0]["content"]]
    assert urls[0] == f"data:image/{kind};base64,{base64.b64encode(file).decode()}"
    for url, picture in zip(urls[1:], pictures[1:], strict=True):
        head, _, data = url.partition(",")
        assert head == "data:image/png;base64"
        assert Image.open(BytesIO(base64.b64decode(data))).getpixel((0, 0)) == picture.getpixel((0, 0))


class Scorer:
    """A vLLM that reads letters as tokens, or the words of ``merged``; the probability of a token is its length."""

    def __init__(self, merged=(), prefix="", best="123"):
        self.merged, self.prefix, self.best = {text: 1000 + index for index, text in enumerate(merged)}, prefix, best

    def tokens(self, text):
        found = []
        while text:
            word = next((word for word in self.merged if text.startswith(word)), text[0])
            found.append((self.merged.get(word, ord(word[0])), word))
            text = text.removeprefix(word)
        return found

    def __call__(self, number, body):
        messages = body["messages"]
        assert (body["max_tokens"], body["temperature"], body.get("n"), body.get("min_tokens")) == (1, 0, None, None)
        prompt = self.tokens("".join(map(str, (each["content"] for each in messages if each["role"] == "user"))) + "|")
        if body.get("continue_final_message"):
            assert messages[-1]["role"] == "assistant" and not body["add_generation_prompt"]
            prompt += self.tokens(self.prefix + messages[-1]["content"])
        choice = {"message": {"content": "?"}, "finish_reason": "length", "logprobs": None}
        if body.get("return_tokens_as_token_ids"):
            assert (body["top_logprobs"], body["logprobs"]) == (20, True)
            step = [{"token": f"token_id:{token}", "logprob": -token / 100} for token in map(ord, self.best)]
            choice["logprobs"] = {"content": [{"top_logprobs": step}]}
        reply = {"choices": [choice], "usage": {"prompt_tokens": len(prompt), "completion_tokens": 1}}
        if body.get("return_token_ids"):
            reply["prompt_token_ids"] = [token for token, _ in prompt]
        if "prompt_logprobs" in body:
            reply["prompt_logprobs"] = [
                {str(token): {"logprob": -token / 100, "rank": 1, "decoded_token": word}} for token, word in prompt
            ]
        return 200, {}, reply


PICK = Request([{"role": "user", "content": "pick"}], choices=("1", "2"))


def test_choices_of_one_token_are_scored_by_one_request_each_once_their_tokens_are_known(serve):
    server, engine = serve(Scorer(), server="vllm")
    replies = ask(engine, PICK, PICK, PICK)
    assert [reply.choice_logprobs for reply in replies] == [{"1": -0.49, "2": -0.50}] * 3
    assert {(r.text, r.prompt_tokens, r.completion_tokens, r.finish_reason) for r in replies} == {("1", 5, 1, "stop")}
    assert len(server.bodies) == 3 + 3
    assert not any("structured_outputs" in body for body in server.bodies)


def test_choices_that_are_not_among_the_best_tokens_are_asked_for_one_by_one(serve):
    server, engine = serve(Scorer(best="1"), server="vllm")
    (reply,) = ask(engine, PICK)
    assert (reply.choice_logprobs, reply.prompt_tokens) == ({"1": -0.49, "2": -0.50}, 5)
    assert len(server.bodies) == 3 + 1 + 2


def test_longer_choices_are_scored_as_a_whole(serve):
    _, engine = serve(Scorer(merged=("Score: ",)), server="vllm")
    (reply,) = ask(engine, Request([{"role": "user", "content": "x"}], choices=("Score: 2", "Score: 13", "no")))
    assert reply.choice_logprobs == pytest.approx({"Score: 2": -10.5, "Score: 13": -11.0, "no": -2.21})
    assert (reply.text, reply.completion_tokens, reply.prompt_tokens) == ("no", 2, 2)


def test_drawn_choices_follow_the_seed_and_are_scored_once(serve):
    server, engine = serve(Scorer(), server="vllm")
    sampling = Sampling(temperature=1.0, n=40, seed=3, min_tokens=2)
    (reply,) = ask(engine, Request(PICK.messages, choices=PICK.choices, sampling=sampling))
    each = [reply, *reply.alternatives]
    assert len(server.bodies) == 3 + 1
    assert {one.text for one in each} == {"1", "2"} and len(each) == 40
    alone = ask(engine, *(Request(PICK.messages, choices=PICK.choices, sampling=one) for one in sampling.each()))
    assert [one.text for one in alone] == [one.text for one in each]


@pytest.mark.parametrize(
    ("scorer", "choices", "message"),
    [
        (Scorer(), ("1", "10"), "begins another.*reword them"),
        (Scorer(), ("a", "a"), "one or more different texts"),
        (Scorer(prefix=" "), ("1", "2"), "writes the choice '1' as ' 1'"),
        (lambda number, body: answer(), ("1", "2"), "choices need a vLLM that tells token ids"),
    ],
    ids=["nested", "twice", "altered", "other"],
)
def test_choices_that_a_server_cannot_score_are_refused(serve, scorer, choices, message):
    _, engine = serve(scorer, server="vllm")
    for _ in range(2):
        with pytest.raises(ValueError, match=message):
            raise ask(engine, Request(PICK.messages, choices=choices))[0]


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


def test_requests_are_sent_no_faster_than_allowed(serve, monkeypatch):
    server, engine = serve(lambda number, body: answer(), requests_per_second=20)
    pauses = []

    async def note(seconds):
        pauses.append(seconds)

    monkeypatch.setattr(openai, "time", SimpleNamespace(monotonic=lambda: 100.0))
    monkeypatch.setattr(openai, "asyncio", SimpleNamespace(sleep=note))
    ask(engine, *[HELLO] * 6)
    assert pauses == pytest.approx([0, 0.05, 0.1, 0.15, 0.2, 0.25]) and len(server.bodies) == 6


def test_one_bad_request_costs_one_request(serve):
    _, engine = serve(lambda number, body: answer())
    bad = {
        "takes messages only": Request(prompt="x"),
        "more image parts than": Request([turn("x", True)]),
        "holds 1 images and fewer": Request([turn("x")], images=(Image.new("RGB", (2, 2)),)),
        "knows no top_k": Request([turn("x")], sampling=Sampling(top_k=5)),
        "knows no choices; set `server: vllm`": Request([turn("x")], choices=("a", "b")),
        "knows no min_tokens, pattern; set": Request([turn("x")], pattern="a+", sampling=Sampling(min_tokens=2)),
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
