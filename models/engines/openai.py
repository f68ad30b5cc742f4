"""A chat engine behind a server that speaks OpenAI's protocol: many requests under way, sent again only when it helps.

A picture travels as the file that it was, where that decodes to the same pixels everywhere, and else as PNG: the server
sees what a local engine would see.
"""

from __future__ import annotations

import asyncio
import base64
import os
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from io import BytesIO
from typing import TYPE_CHECKING, Any

import httpx

from potstill.models.engines.choices import ServerChoices, draw_choice
from potstill.models.engines.protocol import Completion, Message, Request

if TYPE_CHECKING:
    from PIL.Image import Image

    from potstill.models.engines.settings import OpenaiEngine

BUSY = frozenset({408, 429})
"""Refusals, beside the 5xx, after which the same request may be answered later."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0
"""Seconds before the second try, doubled each time, and the most that is waited, whatever the server asks for."""
FILE_TYPES = {b"\xff\xd8\xff": "jpeg", b"\x89PNG": "png", b"RIFF": "webp"}
"""First bytes of the files that are sent as they are -> what they are called."""
SHOWN_BYTES = 500
"""Most of a server's refusal that is repeated."""


def load(settings: OpenaiEngine) -> Openai:
    """The engine for ``settings``; the key is read from the environment. Raises ``ValueError`` if it is not there."""
    key = None
    if settings.api_key_env:
        key = os.environ.get(settings.api_key_env)
        if not key:
            raise ValueError(
                f"the environment variable {settings.api_key_env} holds no key for {settings.base_url}; set it where "
                "the workers run (`resources.<stage>.env` would write it into the plan: do not use that)"
            )
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    limits = httpx.Limits(max_connections=settings.max_in_flight, max_keepalive_connections=settings.max_in_flight)
    return Openai(settings, httpx.AsyncClient(headers=headers, timeout=settings.timeout_s, limits=limits), key)


class Openai:
    """The engine; made by :func:`load`."""

    def __init__(self, settings: OpenaiEngine, client: httpx.AsyncClient, key: str | None) -> None:
        self._settings, self._client, self._key = settings, client, key
        self._url = f"{settings.base_url}/chat/completions"
        self._free = asyncio.Semaphore(settings.max_in_flight)
        self._choices = ServerChoices(self._send, settings.model)
        self._next_send = 0.0

    def hook_prompt(self) -> str:
        """Not possible. Raises ``ValueError``."""
        raise ValueError(
            "a server's chat template cannot be cut open, and its raw completions take no images: "
            "Oasis needs an engine of kind vllm or transformers"
        )

    async def generate(self, request: Request) -> Completion:
        """Serve one request. Raises ``ValueError`` if the server refuses it, ``ConnectionError`` if none answers."""
        if request.messages is None:
            raise ValueError("a server takes messages only, no raw prompt; use an engine of kind vllm or transformers")
        body = self._body(request)
        if request.choices is None:
            return _completion(await self._send(body), request)
        try:
            totals, prompt_tokens, lengths = await self._choices.score(body["messages"], request.choices)
        except (KeyError, IndexError, TypeError) as error:
            raise ValueError(
                f"the server's answer lacks {error}; choices need a vLLM that tells token ids and prompt "
                "log-probabilities"
            ) from error
        scores = dict(zip(request.choices, totals, strict=True))
        drawn = (draw_choice(totals, sampling) for sampling in request.sampling.each())
        return Completion.joined(
            [
                Completion(request.choices[best], prompt_tokens, lengths[best], "stop", choice_logprobs=scores)
                for best in drawn
            ]
        )

    async def _send(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The server's answer, once it is this request's turn."""
        async with self._free:
            return await self._post(body)

    def _body(self, request: Request) -> dict[str, Any]:
        """The request as JSON; without its choices, which are scored by requests of their own."""
        sampling = request.sampling
        pictures = iter(zip(request.images, request.encoded or [None] * len(request.images), strict=True))
        body: dict[str, Any] = {
            "model": self._settings.model,
            "messages": [_message(message, pictures) for message in request.messages or ()],
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
            "frequency_penalty": sampling.frequency_penalty,
            "presence_penalty": sampling.presence_penalty,
            "seed": sampling.seed % 2**63,
        }
        if next(pictures, None) is not None:
            raise ValueError(f"the request holds {len(request.images)} images and fewer image parts in its messages")
        if sampling.stop:
            body["stop"] = list(sampling.stop)
        if sampling.logprobs is not None:
            body |= {"logprobs": True, "top_logprobs": sampling.logprobs}
        if sampling.n > 1:
            body["n"] = sampling.n
        more = {"top_k": sampling.top_k, "min_tokens": sampling.min_tokens}
        bounds = {"choices": request.choices, "pattern": request.pattern}
        if self._settings.server == "openai":
            unknown = [name for name, value in (more | bounds).items() if value]
            if unknown:
                raise ValueError(
                    f"OpenAI's protocol knows no {', '.join(unknown)}; set `server: vllm` if vLLM answers there"
                )
            if request.schema is not None:
                schema = {"name": "reply", "strict": True, "schema": dict(request.schema)}
                body["response_format"] = {"type": "json_schema", "json_schema": schema}
            return body
        if request.schema is not None:
            more["structured_outputs"] = {"json": dict(request.schema)}
        elif request.pattern is not None:
            more["structured_outputs"] = {"regex": request.pattern}
        more["return_token_ids"] = sampling.n > 1
        return body | {name: value for name, value in more.items() if value}

    async def _post(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The server's answer."""
        failure = ""
        for attempt in range(self._settings.tries):
            await self._turn()
            pause = min(FIRST_PAUSE * 2**attempt, LONGEST_PAUSE)
            try:
                response = await self._client.post(self._url, json=body)
            except httpx.TransportError as error:
                failure = f"{type(error).__name__}: {error}"
            else:
                if response.is_success:
                    return _json(response)
                failure = f"{response.status_code} {self._shown(response.text)}"
                if response.status_code not in BUSY and response.status_code < 500:
                    raise ValueError(f"{self._url} refuses the request: {failure}")
                pause = _asked_pause(response.headers.get("retry-after"), pause)
            if attempt + 1 < self._settings.tries:
                await asyncio.sleep(pause)
        raise ConnectionError(
            f"{self._url} gave no answer in {self._settings.tries} tries, at last {failure}; "
            "see to the server, or raise `tries` or `timeout_s`, or lower `max_in_flight` or `requests_per_second`"
        )

    def _shown(self, text: str) -> str:
        """The beginning of what a server says, without the key, which some repeat."""
        return (text.replace(self._key, "***") if self._key else text)[:SHOWN_BYTES]

    async def _turn(self) -> None:
        """Wait until a request may be sent."""
        if self._settings.requests_per_second:
            now = time.monotonic()
            mine = max(self._next_send, now)
            self._next_send = mine + 1 / self._settings.requests_per_second
            await asyncio.sleep(mine - now)


Pictures = Iterable[tuple["Image", bytes | None]]
"""Images in their order, each with the file that it is, if that may be sent."""


def _message(message: Message, pictures: Pictures) -> dict[str, Any]:
    """The message in OpenAI's form, with the next pictures in the place of its image parts."""
    if isinstance(message["content"], str):
        return dict(message)
    return {"role": message["role"], "content": [_part(part, pictures) for part in message["content"]]}


def _part(part: Mapping[str, Any], pictures: Pictures) -> dict[str, Any]:
    if part["type"] != "image":
        return dict(part)
    picture, encoded = next(iter(pictures), (None, None))
    if picture is None:
        raise ValueError("the messages hold more image parts than the request has images")
    kind = next((kind for start, kind in FILE_TYPES.items() if encoded and encoded.startswith(start)), None)
    if encoded is None or kind is None:
        buffer = BytesIO()
        picture.save(buffer, "PNG")
        kind, encoded = "png", buffer.getvalue()
    return {"type": "image_url", "image_url": {"url": f"data:image/{kind};base64,{base64.b64encode(encoded).decode()}"}}


def _json(response: httpx.Response) -> dict[str, Any]:
    try:
        return response.json()
    except ValueError as error:
        raise ValueError(f"{response.url} answered something else than JSON: {response.text[:SHOWN_BYTES]}") from error


def _asked_pause(header: str | None, pause: float) -> float:
    """Seconds that a ``Retry-After`` header (a number, or a date) asks for; else ``pause``."""
    if not header:
        return pause
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            return pause
    return min(max(seconds, 0.0), LONGEST_PAUSE)


def _completion(answer: Mapping[str, Any], request: Request) -> Completion:
    try:
        usage, replies = answer["usage"], sorted(answer["choices"], key=lambda reply: reply.get("index", 0))
        if len(replies) != request.sampling.n:
            raise ValueError(f"the server gave {len(replies)} replies instead of {request.sampling.n}")
        counts = [len(reply["token_ids"]) if reply.get("token_ids") else 0 for reply in replies]
        counts[0] = usage["completion_tokens"] - sum(counts[1:])
        done = [
            _reply(reply, usage["prompt_tokens"], count, request) for reply, count in zip(replies, counts, strict=True)
        ]
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError(f"the server's answer lacks {error}: {str(answer)[:SHOWN_BYTES]}") from error
    return Completion.joined(done)


def _reply(reply: Mapping[str, Any], prompt_tokens: int, completion_tokens: int, request: Request) -> Completion:
    text, reason = reply["message"]["content"] or "", reply["finish_reason"]
    if reason not in ("stop", "length"):
        raise ValueError(f"the server ended the reply for another reason than its end or its length: {reason!r}")
    if request.sampling.logprobs is None:
        return Completion(text, prompt_tokens, completion_tokens, reason)
    steps = reply["logprobs"]["content"]
    drawn = tuple(step["logprob"] for step in steps)
    top = tuple({one["token"]: one["logprob"] for one in step["top_logprobs"]} for step in steps)
    return Completion(text, prompt_tokens, completion_tokens, reason, drawn, top)
