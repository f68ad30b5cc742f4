"""What the reply to a question of a ``prompt`` stage becomes: values by the ending of their name, with their types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from potstill.models.engines.protocol import Completion
from potstill.pipelines.synthesizers import replies, typed_reply
from potstill.pipelines.synthesizers.synthesizer import Reject
from potstill.pipelines.synthesizers.verdict import score

if TYPE_CHECKING:
    from potstill.pipelines.synthesizers.prompt_step import PromptStep

LISTED = ("text", "score", "choice")
"""Forms that can be asked for each item of a list."""


def kinds(step: PromptStep) -> dict[str, pa.DataType]:
    """Ending of the name -> type, for the values of one reply, or of those to all items."""
    if step.parse == "json":
        return {f"_{field}": typed_reply.arrow(kind) for field, kind in step.fields.items()}
    found = {"": {"score": pa.int8(), "lines": pa.list_(pa.string())}.get(step.parse, pa.string())}
    if step.parse == "score" and step.mode == "expected":
        found["_expected"] = pa.float32()
    if step.each is None:
        return found
    summary = {"score": {"_mean": pa.float32()}, "choice": {"_share": pa.float32()}}.get(step.parse, {})
    return {ending: pa.list_(kind) for ending, kind in found.items()} | summary


def read(step: PromptStep, reply: Completion) -> dict[str, Any] | Reject:
    """Ending -> value of one reply. Raises :class:`~.synthesizer.UnparsableReply`."""
    complete = reply.finish_reason == "stop"
    match step.parse:
        case "score":
            likeliest, mean = score(reply, step.mode)
            return {"": likeliest} if mean is None else {"": likeliest, "_expected": mean}
        case "choice":
            return {"": replies.choice(reply.text, step.choices)}
        case "json":
            return {f"_{key}": value for key, value in typed_reply.read(reply.text, step.model).items()}
        case "lines":
            found = replies.lines(reply.text, complete=complete)
        case "text":
            found = reply.text.strip()
    if found and step.whole and not complete:
        return Reject(f"truncated_{step.name}")
    return {"": found} if found else Reject(f"empty_{step.name}")


def listed(step: PromptStep, found: Sequence[Mapping[str, Any] | Reject]) -> dict[str, Any]:
    """Ending -> value, of the replies to all items of a list; a reply without words is null.

    ``_share`` is the share of the items for which the first choice was replied, ``_mean`` the mean score (of the
    expected ones, where there are such); null without items.
    """
    values = [{} if isinstance(each, Reject) else each for each in found]
    columns = {ending: [each.get(ending) for each in values] for ending in kinds(step) if ending in ("", "_expected")}
    if step.parse == "choice":
        hits = [value == step.choices[0] for value in columns[""]]
        columns["_share"] = sum(hits) / len(hits) if hits else None
    if step.parse == "score":
        scores = columns.get("_expected", columns[""])
        columns["_mean"] = sum(scores) / len(scores) if scores else None
    return columns
