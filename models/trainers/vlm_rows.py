"""Rows of a table as tokens and pixels, packed so that they travel through Arrow."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash
from safetensors.numpy import load, save

from potstill.config import RequestError
from potstill.models.engines import template
from potstill.models.trainers.branches import packed
from potstill.models.trainers.chat_targets import Tokens, script, tokenise_all
from potstill.models.trainers.conversations import Message, asked, pictures, read, several
from potstill.models.trainers.vlm import SAMPLE_ID, VlmRecipe

logger = logging.getLogger(__name__)

ANSWER, REJECTED, PIXELS, STORED = "answer", "rejected", "pixels", "stored"
"""Columns of a prepared table: tokens, tokens of the rejected answer, pictures, the stored teacher."""
IDS, TARGET, WEIGHT = "input_ids", "target", "weight"
IDX, LOGP, REFERENCE = "topk_idx", "topk_logp", "log_probs"


@dataclass(frozen=True)
class Reader:
    """How a model reads: its processor, what it knows of its own texts, and how many tokens it takes."""

    name: str
    processor: Any
    ends: tuple[str, ...]
    """Texts of end tokens; the first is the tokenizer's own."""
    context: int
    image_token: int | None
    special: frozenset[str]

    def render(self, messages: Sequence[Message], reply: bool) -> str:
        """The chat template over messages."""
        return self.processor.apply_chat_template(list(messages), add_generation_prompt=reply, tokenize=False)

    def tokens(self, conversations: Sequence[Sequence[Message]], images: Sequence[Any]) -> list[Tokens]:
        """Conversations about the same pictures, each as the model reads it; their texts cannot hold special tokens."""
        written = [script(self.render, list(map(self._clean, talk)), self.ends) for talk in conversations]
        return tokenise_all(self.processor, written, images, self.image_token)

    def _clean(self, message: Message) -> Message:
        return message | template.clean(message, self.special, sees=True)

    def identity(self) -> dict[str, str]:
        """Hashes of what two models must share for one to teach the other."""
        words = sorted(self.processor.tokenizer.get_vocab().items())
        image = getattr(self.processor, "image_processor", None)
        shown = {} if image is None else {k: v for k, v in image.to_dict().items() if not k.endswith("processor_type")}
        facts = {"tokenizer": words, "chat template": self.processor.chat_template, "picture settings": shown}
        return {name: xxhash.xxh3_128_hexdigest(repr(fact).encode()) for name, fact in facts.items()}


@lru_cache(maxsize=4)
def reader(name: str, revision: str | None, local: bool) -> Reader:
    """The reader of a model: nothing of its weights is loaded. Raises :class:`RequestError` for a model that does not
    see, and for a tokenizer without offsets.
    """
    from transformers import AutoConfig, AutoProcessor, GenerationConfig

    where: dict[str, Any] = {"revision": revision or "main", "local_files_only": local}
    config = AutoConfig.from_pretrained(name, **where)
    processor = AutoProcessor.from_pretrained(name, **where)
    tokenizer = getattr(processor, "tokenizer", None)
    if tokenizer is None or getattr(processor, "image_processor", None) is None:
        raise RequestError(f"{name} is no image-text-to-text model: it has no processor of pictures and texts")
    if not tokenizer.is_fast:
        raise RequestError(f"the tokenizer of {name} gives no offsets; use a model with a fast tokenizer")
    context = getattr(config.get_text_config(), "max_position_embeddings", None) or tokenizer.model_max_length
    try:
        said = GenerationConfig.from_pretrained(name, **where).eos_token_id
    except OSError:
        said = None
    ids = [tokenizer.eos_token_id, *(said if isinstance(said, list) else [said])]
    ends = tuple(dict.fromkeys(tokenizer.convert_ids_to_tokens(i) for i in ids if i is not None))
    if not ends:
        raise RequestError(f"{name} names no end token: set eos_token in its tokenizer_config.json")
    image = getattr(processor, "image_token_id", None) or getattr(config, "image_token_id", None)
    return Reader(name, processor, ends, context, image, frozenset(template.special_texts(processor)))


def reader_of(recipe: VlmRecipe, name: str) -> Reader:
    """The reader of one of a recipe's models."""
    path, where = recipe.model_named(name)
    return reader(path, where["revision"], where["local_files_only"])


def prepared(recipe: VlmRecipe, rows: pa.Table) -> pa.Table:
    """Blobs of safetensors for each row. Says how many rows have nothing to learn, and how many were cut.

    Raises :class:`RequestError` that names the row for one that cannot be read.
    """
    own = reader_of(recipe, recipe.pretrained)
    columns: dict[str, list[bytes]] = {name: [] for name in _columns(recipe)}
    empty = cut = 0
    for row in rows.to_pylist():
        try:
            values, learns, shorter = _row(recipe, own, row)
        except (ValueError, OSError, KeyError, TypeError) as error:
            raise RequestError(f"sample {row[SAMPLE_ID]}: {error}") from error
        empty, cut = empty + (not learns), cut + shorter
        for name, value in values.items():
            columns[name].append(value)
    if empty:
        logger.warning("%s of %s rows have no answer to learn from", empty, rows.num_rows)
    if cut:
        logger.warning("%s of %s rows were cut at max_tokens %s", cut, rows.num_rows, recipe.max_tokens)
    return pa.table({name: pa.array(values, pa.large_binary()) for name, values in columns.items()})


def _answers(recipe: VlmRecipe) -> tuple[str, ...]:
    return (ANSWER, REJECTED) if recipe.prefers else (ANSWER,)


def _columns(recipe: VlmRecipe) -> tuple[str, ...]:
    stored = (STORED,) if recipe.teacher_columns or recipe.reference_columns else ()
    return (*_answers(recipe), PIXELS, *stored)


def _row(recipe: VlmRecipe, own: Reader, row: Mapping[str, Any]) -> tuple[dict[str, bytes], bool, bool]:
    """Blobs of one row, whether there is something to learn, and whether it was cut."""
    images = pictures(row[recipe.image]) if recipe.image else []
    conversations = _conversations(recipe, row, len(images))
    tokens = own.tokens(conversations, images)
    tokens = [packed(tokens, own.image_token)] if recipe.branches else tokens
    kept = [_fit(recipe, own, each) for each in tokens]
    blobs = {name: save(_arrays(each)) for name, each in zip(_answers(recipe), kept, strict=True)}
    blobs[PIXELS] = _pixels(tokens[0])
    if recipe.teacher_columns:
        blobs[STORED] = save(_teacher(recipe, row, _targets(tokens[0]), _targets(kept[0])))
    elif recipe.reference_columns:
        chosen, rejected = (row[name] for name in recipe.reference_columns)
        first, second = (rejected, chosen) if _swapped(recipe, row) else (chosen, rejected)
        blobs[STORED] = save({REFERENCE: np.array([first, second], np.float32)})
    cut = any(len(a.ids) < len(b.ids) for a, b in zip(kept, tokens, strict=True))
    return blobs, all(map(_targets, kept)), cut


def _targets(tokens: Tokens) -> int:
    return int((tokens.weight > 0).sum())


def _conversations(recipe: VlmRecipe, row: Mapping[str, Any], images: int) -> list[list[Message]]:
    if recipe.branches:
        return several(row[recipe.branches], recipe.system, images)
    if recipe.messages:
        return [read(row[recipe.messages], recipe.system, images)]
    question = row[recipe.instruction] if recipe.instruction else None
    names = (recipe.chosen, recipe.rejected) if recipe.prefers else (recipe.response,)
    answers = [row[name] for name in names if name]
    if _swapped(recipe, row):
        answers.reverse()
    return [asked(question, answer, recipe.system, images) for answer in answers]


def _swapped(recipe: VlmRecipe, row: Mapping[str, Any]) -> bool:
    """Whether the row says that its second answer is the better one."""
    if not recipe.winner:
        return False
    if row[recipe.winner] not in ("a", "b"):
        raise ValueError(f"{recipe.winner} is {row[recipe.winner]!r}, not a or b: leave such rows out with data.where")
    return row[recipe.winner] == "b"


def _fit(recipe: VlmRecipe, own: Reader, tokens: Tokens) -> Tokens:
    """Tokens within the limit. Raises ``ValueError`` where they cannot be."""
    length, most = len(tokens.ids), min(recipe.max_tokens or own.context, own.context)
    if length <= most:
        return tokens
    seen = np.flatnonzero(tokens.ids == own.image_token)
    if not recipe.max_tokens or (len(seen) and seen[-1] >= most):
        way = "raise max_tokens" if recipe.max_tokens else "set max_tokens to cut rows"
        shown = f", {len(seen)} of them of pictures" if len(seen) else ""
        raise ValueError(
            f"{length} tokens{shown}, and {most} fit (the model takes {own.context}); {way}, leave such rows out with "
            "a filter, or shrink the pictures"
        )
    kinds = {name: x[:most] for name, x in tokens.kinds.items()}
    return Tokens(tokens.ids[:most], tokens.weight[:most], kinds, tokens.pixels)


def _arrays(tokens: Tokens) -> dict[str, np.ndarray]:
    each = {IDS: tokens.ids, WEIGHT: tokens.weight, **tokens.kinds}
    return {name: np.ascontiguousarray(x) for name, x in each.items()}


def _pixels(tokens: Tokens) -> bytes:
    return save({name: np.ascontiguousarray(x) for name, x in tokens.pixels.items()})


def two_ways(recipe: VlmRecipe, own: Reader, rows: pa.Table) -> tuple[pa.Table, pa.Table] | None:
    """Two conversations of the first row that has so many: packed as one row, and as two rows."""
    for row in rows.to_pylist():
        conversations = _conversations(recipe, row, len(images := pictures(row[recipe.image]) if recipe.image else []))
        if len(conversations) > 1:
            alone = own.tokens(conversations[:2], images)
            ways = ([packed(alone, own.image_token)], alone)
            one, two = ({ANSWER: [save(_arrays(t)) for t in way], PIXELS: list(map(_pixels, way))} for way in ways)
            return pa.table(one), pa.table(two)
    return None


def _teacher(recipe: VlmRecipe, row: Mapping[str, Any], whole: int, kept: int) -> dict[str, np.ndarray]:
    """Stored classes of the kept target tokens."""
    assert recipe.teacher_columns
    idx, logp = row[recipe.teacher_columns.idx], row[recipe.teacher_columns.logp]
    if idx is None or logp is None or len(idx) != whole or len(logp) != whole:
        has = "none" if idx is None or logp is None else f"{len(idx)} and {len(logp)}"
        raise ValueError(
            f"{recipe.teacher_columns.idx} and {recipe.teacher_columns.logp} hold {has} places, and the row has "
            f"{whole} target tokens; store the teacher anew with the same model, template and system"
        )
    return {IDX: np.array(idx[:kept], np.int32), LOGP: np.array(logp[:kept], np.float32)}


def unpacked(column: pa.ChunkedArray | pa.Array) -> list[dict[str, np.ndarray]]:
    """Arrays of each row from its blob."""
    return [load(blob) for blob in column.to_pylist()]
