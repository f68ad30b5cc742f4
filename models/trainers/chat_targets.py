"""Which tokens of a conversation are learnt, as a rule the assistant's: found by rendering it with the model's own
template and by the tokenizer's offsets, in the sequence in which pictures have their tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from potstill.models.engines.template import SENTINEL
from potstill.models.trainers.conversations import Message, learnt

Render = Callable[[Sequence[Message], bool], str]
"""Messages -> text by the chat template; with True it ends where the assistant is to go on."""


@dataclass(frozen=True, slots=True)
class Script:
    """A conversation as text, and the spans (first, after the last character) that are learnt, each with its weight."""

    text: str
    spans: tuple[tuple[int, int], ...]
    weights: tuple[float, ...]


def script(render: Render, messages: Sequence[Message], ends: Sequence[str]) -> Script:
    """Render a conversation. A turn of the assistant goes from the end of the generation prompt to its first end token,
    one of the user from its first word.

    ``ends`` are the texts of end tokens; the first is put after the last turn where the template writes none, since a
    model would else never learn to stop. Raises ``ValueError`` for a template in which a turn cannot be found.
    """
    whole = render(messages, False)
    weights = [learnt(message) for message in messages]
    places = [place for place, weight in enumerate(weights) if weight]
    spans = [_cut(whole, _span(render, messages, place, whole, ends), ends) for place in places]
    answered = places and places[-1] == len(messages) - 1 and messages[-1]["role"] == "assistant"
    if answered and not whole[: spans[-1][1]].endswith(tuple(ends)):
        start, stop = spans[-1]
        whole = whole[:start] + whole[start:stop].rstrip() + ends[0]
        spans[-1] = (start, len(whole))
    return Script(whole, tuple(spans), tuple(weights[place] for place in places))


def _span(render: Render, messages: Sequence[Message], place: int, whole: str, ends: Sequence[str]) -> tuple[int, int]:
    """What the assistant writes in its turn: all that comes after the generation prompt. Where a template renders the
    past otherwise than the present, and in a turn of the user, the words alone and the end token behind them.
    """
    if place and messages[place]["role"] == "assistant":
        before, through = render(messages[:place], True), render(messages[: place + 1], False)
        if whole.startswith(through) and through.startswith(before):
            return len(before), len(through)
    shown_first = [part for part in messages[place]["content"] if part["type"] != "text"]
    marked = {**messages[place], "content": [*shown_first, {"type": "text", "text": SENTINEL}]}
    shown = render([*messages[:place], marked, *messages[place + 1 :]], False)
    head, _, tail = shown.partition(SENTINEL)
    if shown.count(SENTINEL) != 1 or not (whole.startswith(head) and whole.endswith(tail)):
        raise ValueError(
            f"the chat template does not show where turn {place + 1} begins: the conversation is {whole!r}, with a "
            f"mark for the words of that turn {shown!r}"
        )
    stop, blank = len(whole) - len(tail), len(tail) - len(tail.lstrip())
    end = next((end for end in ends if tail.lstrip().startswith(end)), None)
    return len(head), stop if end is None else stop + blank + len(end)


def _cut(whole: str, span: tuple[int, int], ends: Sequence[str]) -> tuple[int, int]:
    """The span up to its first end token, if it has one."""
    start, stop = span
    found = [place + len(end) for end in ends if (place := whole.find(end, start, stop)) >= 0]
    return start, min(found, default=stop)


@dataclass(frozen=True, slots=True)
class Tokens:
    """A conversation of L tokens as a model reads it, pictures expanded."""

    ids: np.ndarray
    """int32 (L,)."""
    weight: np.ndarray
    """float32 (L,): how much a token counts, 0 where it is not learnt."""
    kinds: Mapping[str, np.ndarray]
    """What else the model wants of each token, int32 (L,), by name."""
    pixels: Mapping[str, np.ndarray]
    """What the model wants of the pictures, by name; the first dimension counts rows, pictures or patches."""


def tokenise(processor: Any, written: Script, images: Sequence[Image.Image]) -> Tokens:
    """Tokens of a script with its pictures. A token that overlaps a span is learnt.

    Raises ``ValueError`` when the processor refuses, or does not say where it puts pictures.
    """
    bos = processor.tokenizer.bos_token
    options: dict[str, Any] = {"return_offsets_mapping": True, "return_tensors": "np"}
    options["add_special_tokens"] = not (bos and written.text.startswith(bos))
    if images:
        options |= {"images": [list(images)], "return_text_replacement_offsets": True}
    try:
        given = processor(text=[written.text], **options)
    except (ValueError, TypeError, IndexError, NotImplementedError) as error:
        raise ValueError(f"the processor refuses the row: {type(error).__name__}: {error}") from error
    moved = given.pop("text_replacement_offsets", [[]])
    if images and (not moved or len(moved[0]) != len(images)):
        raise ValueError(f"{type(processor).__name__} does not say where it puts the tokens of pictures")
    offsets = np.asarray(given.pop("offset_mapping"))[0]
    spans = [tuple(_moved(place, moved[0] if moved else ()) for place in span) for span in written.spans]
    ids = np.asarray(given.pop("input_ids"))[0].astype(np.int32)
    weight = _weighed(offsets, spans, written.weights)
    given.pop("attention_mask", None)
    kinds = {name: np.asarray(x)[0].astype(np.int32) for name, x in given.items() if name.endswith("token_type_ids")}
    pixels = {name: np.asarray(x) for name, x in given.items() if name not in kinds}
    return Tokens(ids, weight, kinds, pixels)


def tokenise_all(
    processor: Any, written: Sequence[Script], images: Sequence[Image.Image], image_token: int | None
) -> list[Tokens]:
    """As :func:`tokenise` does with each script, all about the same pictures, which are processed once where the
    tokens behind the last picture are the same without what stands before them.
    """
    first = tokenise(processor, written[0], images)
    seen = np.flatnonzero(first.ids == image_token)
    mark = written[0].text.rfind(getattr(processor, "image_token", None) or "\0")
    if len(written) == 1 or mark < 0 or first.kinds or not len(seen):
        return [first, *(tokenise(processor, each, images) for each in written[1:])]
    start, place = int(seen[-1]) + 1, mark + len(processor.image_token)
    tails = [_tail(processor.tokenizer, each, place) for each in written]
    cut = len(first.ids) - len(tails[0][0])
    alike = cut >= start and np.array_equal(first.ids[cut:], tails[0][0])
    head, made = first.ids[:cut], [first]
    for each, (ids, weight) in zip(written[1:], tails[1:], strict=True):
        if alike and each.text[:place] == written[0].text[:place] and all(a >= place for a, _ in each.spans):
            whole = np.concatenate([np.zeros(len(head), np.float32), weight])
            made.append(Tokens(np.concatenate([head, ids]), whole, {}, first.pixels))
        else:
            made.append(tokenise(processor, each, images))
    return made


def _tail(tokenizer: Any, written: Script, place: int) -> tuple[np.ndarray, np.ndarray]:
    """Tokens of a script from a place in its text on, and their weights."""
    given = tokenizer(written.text[place:], add_special_tokens=False, return_offsets_mapping=True)
    offsets = np.asarray(given["offset_mapping"], int).reshape(-1, 2) + place
    return np.asarray(given["input_ids"], np.int32), _weighed(offsets, written.spans, written.weights)


def _weighed(offsets: np.ndarray, spans: Sequence[Sequence[int]], weights: Sequence[float]) -> np.ndarray:
    """Weight of each token, from its place in the text (L, 2)."""
    found = np.zeros(len(offsets), np.float32)
    for (start, stop), weight in zip(spans, weights, strict=True):
        found[(offsets[:, 0] < stop) & (offsets[:, 1] > start) & (offsets[:, 1] > offsets[:, 0])] = weight
    return found


def _moved(place: int, replaced: Sequence[Mapping[str, Any]]) -> int:
    """A place in the text after pictures have got their tokens."""
    before = [each["new_span"][1] - each["span"][1] for each in replaced if each["span"][1] <= place]
    return place + (before[-1] if before else 0)
