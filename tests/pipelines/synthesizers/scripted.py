"""A toy engine that replies what a function says, and rows to feed a stage."""

import asyncio
import math
from dataclasses import replace
from io import BytesIO

import pyarrow as pa
from PIL import Image

from potstill.models.engines import settings
from potstill.models.engines.protocol import Completion
from potstill.models.engines.settings import TransformersEngine

ENGINE = TransformersEngine(model="Scripted/Toy")
HOOK = "<user><image>"


class Scripted:
    """Replies ``script(request)``: a text, (text, finish reason), choices with their probabilities, or an exception.

    Remembers requests.
    """

    def __init__(self, script):
        self.script = script
        self.requests = []

    def hook_prompt(self):
        return HOOK

    async def generate(self, request):
        self.requests.append(request)
        await asyncio.sleep(0)
        one_by_one = (replace(request, sampling=sampling) for sampling in request.sampling.each())
        return Completion.joined([self.completion(one) for one in one_by_one])

    def completion(self, request):
        """One reply."""
        said = self.script(request)
        if isinstance(said, Exception):
            raise said
        odds = None
        if isinstance(said, dict):
            odds, said = {choice: math.log(odd) for choice, odd in said.items()}, max(said, key=said.get)
        text, reason = said if isinstance(said, tuple) else (said, "stop")
        return Completion(
            text, prompt_tokens=10, completion_tokens=len(text.split()), finish_reason=reason, choice_logprobs=odds
        )


def words(request):
    """The user's words in a request, or its raw prompt."""
    return request.prompt or request.messages[-1]["content"][-1]["text"]


def use(monkeypatch, script):
    engine = Scripted(script)
    monkeypatch.setitem(settings._loaded, ENGINE, engine)
    return engine


def png(shade, size=(8, 6)):
    buffer = BytesIO()
    Image.new("RGB", size, (shade, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def rows(images, **columns):
    ids = [f"{index:032x}" for index in range(len(images))]
    table = pa.table({"sample_id": ids, "image_id": [f"toy{hash(image)}" for image in images]})
    table = table.append_column("image", pa.array(images, pa.large_binary()))
    for name, values in columns.items():
        table = table.append_column(name, pa.array(values, pa.string()))
    return table


def lists(result):
    """The result of a batch as plain lists; errors as their texts."""
    out = {name: values.to_pylist() for name, values in result.items() if name != "error"}
    return {**out, "error": [error and f"{type(error).__name__}: {error}" for error in result["error"]]}
