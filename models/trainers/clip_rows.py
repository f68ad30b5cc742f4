"""Rows of pictures and captions as numbers: one view and one caption of each, and what teachers said of just these.

Everything drawn follows from the seed, the sample and the epoch. Columns that come out, for n rows: ``pixels``
(size, size, 3) bytes, ``tokens/NAME`` int32, ``group`` and ``text_id`` int64, ``target`` where there are classes; for a
teacher in memory ``teacher_pixels`` and ``teacher_tokens/NAME`` where it wants others; ``stored/K/NAME`` float32.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from PIL import Image

from potstill.config import RequestError
from potstill.models.losses.numerics import IGNORED
from potstill.models.trainers.clip import ClipRecipe, columns_of
from potstill.models.trainers.clip_network import Blueprint, blueprint
from potstill.models.trainers.parquet import EPOCH
from potstill.models.trainers.pictures import SAMPLE_ID, encoded
from potstill.models.trainers.stored import check

PIXELS, TEACHER_PIXELS, GROUP, TEXT_ID, TARGET = "pixels", "teacher_pixels", "group", "text_id", "target"
TOKENS, TEACHER_TOKENS, STORED = "tokens/", "teacher_tokens/", "stored/"


def student_of(recipe: ClipRecipe) -> Blueprint:
    """The student's blueprint."""
    return blueprint(recipe.network.architecture, recipe.network.config)


def teacher_of(recipe: ClipRecipe) -> Blueprint | None:
    """The blueprint of the teacher in memory."""
    return blueprint(recipe.teacher) if recipe.teacher else None


def same_view(one: Blueprint, other: Blueprint) -> bool:
    """Do both want the same pixels? (Each normalises by itself.)"""
    names = ("size", "interpolation", "resize_mode", "fill_color")
    return all(one.preprocess[name] == other.preprocess[name] for name in names)


def same_tokens(one: Blueprint, other: Blueprint) -> bool:
    """Do both read the same tokens?"""
    ours, theirs = one.model["text_cfg"], other.model["text_cfg"]
    return one.source == other.source or all(
        ours.get(name, default) == theirs.get(name, default)
        for name, default in (("hf_tokenizer_name", None), ("tokenizer_kwargs", None), ("context_length", 77))
    )


def prepared(recipe: ClipRecipe, rows: pa.Table, *, training: bool) -> pa.Table:
    """All columns of a window; without ``training`` those that evaluation wants.

    Raises ValueError that names the sample for what cannot be read.
    """
    student, teacher = student_of(recipe), teacher_of(recipe)
    wanted = {PIXELS: student}
    if teacher and not same_view(student, teacher):
        wanted[TEACHER_PIXELS] = teacher
    table: dict[str, Any] = _pictures(recipe, rows, wanted, training)
    stores = recipe.stored if training else ()
    for name, columns in recipe.texts.items():
        said, places = drawn_texts(rows, columns, recipe.seed if training else None, name)
        tokens = _tokens(student, said)
        table[TOKENS + name] = tokens
        if teacher:
            table[TEACHER_TOKENS + name] = tokens if same_tokens(student, teacher) else _tokens(teacher, said)
        if name == "text":
            table[TEXT_ID] = pa.array([number(text) for text in said], pa.int64())
        for k, stored in enumerate(stores):
            theirs = columns_of(stored.text if name == "text" else stored.more[name])
            table[f"{STORED}{k}/{name}"] = _as_lists(vectors(rows, theirs, places))
    for k, stored in enumerate(stores):
        counts = [1] * rows.num_rows
        if stored.views:
            counts = [len(views) for views in rows[stored.views].to_pylist()]
        places = [(epoch - 1) % count for epoch, count in zip(rows[EPOCH].to_pylist(), counts, strict=True)]
        scale = stored.scale or (check(rows, stored.store, SAMPLE_ID, {})["scale"] if stored.store else 100)
        table[f"{STORED}{k}/scale"] = pa.array([float(scale)] * rows.num_rows, pa.float32())
        table[f"{STORED}{k}/image"] = _as_lists(vectors(rows, (stored.image,), places, counts))
    table[GROUP] = _groups(recipe, rows)
    if recipe.classes:
        table[TARGET] = _targets(recipe, rows)
    return pa.table(table)


def _replayed(recipe: ClipRecipe, rows: pa.Table) -> list[dict[str, Any]] | None:
    """How stored views of the epoch were cut and turned; None where nothing says it."""
    names = [stored.views for stored in recipe.stored if stored.views]
    if not names:
        return None
    every = [rows[name].to_pylist() for name in names]
    for sample, *views in zip(rows[SAMPLE_ID].to_pylist(), *every, strict=True):
        if not views[0] or any(other != views[0] for other in views):
            raise ValueError(
                f"sample {sample} has no views in {', '.join(names)}, or other ones: store all teachers of the same"
            )
    return [views[(epoch - 1) % len(views)] for views, epoch in zip(every[0], rows[EPOCH].to_pylist(), strict=True)]


def number(text: str) -> int:
    """A number of 63 bits for a text."""
    return xxhash.xxh3_64_intdigest(text.encode()) >> 1


def drawn_texts(
    rows: pa.Table, columns: Sequence[str], seed: int | None, name: str = "text"
) -> tuple[list[str], list[int]]:
    """One text of each row, and its place among all texts of the row; the first where there is no seed.

    A row's texts are those of all ``columns`` one after the other; empty ones are never drawn, yet keep their places.
    """
    every: list[list[str | None]] = [[] for _ in range(rows.num_rows)]
    for column in columns:
        for texts, value in zip(every, rows[column].to_pylist(), strict=True):
            texts += value if isinstance(value, list) else [value]
    said, places = [], []
    for sample, epoch, texts in zip(rows[SAMPLE_ID].to_pylist(), rows[EPOCH].to_pylist(), every, strict=True):
        full = [place for place, text in enumerate(texts) if text and text.strip()]
        if not full:
            raise ValueError(f"sample {sample} has no text in {', '.join(columns)}: leave such rows out")
        place = full[0] if seed is None else full[number(f"{seed}/{sample}/{epoch}/{name}") % len(full)]
        said.append(texts[place])
        places.append(place)
    return said, places


def vectors(
    rows: pa.Table, columns: Sequence[str], places: Sequence[int], counts: Sequence[int] | None = None
) -> np.ndarray:
    """Stored vectors float32 (n, D), of each row the one at its place among all of its vectors in ``columns``.

    A column has a list of vectors for each row, or ``counts`` (n,) of them one after the other in a flat list, 1 if not
    given. Raises ValueError that names the sample where there is none, or one that is not finite or of another width.
    """
    counts = counts or [1] * rows.num_rows
    found = [
        _at(rows, columns, row, place, count) for row, (place, count) in enumerate(zip(places, counts, strict=True))
    ]
    width = max(map(len, found))
    bad = next((k for k, x in enumerate(found) if not len(x) == width > 0 or not np.isfinite(x).all()), None)
    if bad is not None:
        raise ValueError(
            f"sample {rows[SAMPLE_ID][bad]} has no sound embedding of {width} numbers in {', '.join(columns)}: compute "
            "it, or leave the row out"
        )
    return np.stack(found).astype(np.float32)


def _at(rows: pa.Table, columns: Sequence[str], row: int, place: int, count: int) -> np.ndarray:
    for column in columns:
        value, flat = rows[column][row], _flat(rows, column)
        has = 0 if not value.is_valid else count if flat else len(value.values)
        if place < has:
            if not flat:
                inner = value.values[place]
                return inner.values.to_numpy(zero_copy_only=False) if inner.is_valid else np.empty(0)
            whole = value.values.to_numpy(zero_copy_only=False)
            return whole.reshape(count, -1)[place] if len(whole) % count == 0 else np.empty(0)
        place -= has
    return np.empty(0)


def _flat(rows: pa.Table, column: str) -> bool:
    """One vector for each row, or a list of them? Raises :class:`RequestError` for a column of something else."""
    kind = rows.schema.field(column).type
    inner = kind.value_type if _is_list(kind) else kind
    if pa.types.is_floating(inner) and inner is not kind:
        return True
    if _is_list(inner) and pa.types.is_floating(inner.value_type):
        return False
    raise RequestError(f"column {column!r} is {kind}; embeddings of a teacher are lists of numbers, or lists of those")


def _is_list(kind: Any) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _pictures(recipe: ClipRecipe, rows: pa.Table, wanted: dict[str, Blueprint], training: bool) -> dict[str, pa.Array]:
    """Pixels for each model: the views of training, or as at inference."""
    arrays: dict[str, list[bytes]] = {name: [] for name in wanted}
    replay = _replayed(recipe, rows) if training else None
    samples, epochs = rows[SAMPLE_ID].to_pylist(), rows[EPOCH].to_pylist()
    for row, data in enumerate(encoded(rows, recipe.image)):
        try:
            with Image.open(io.BytesIO(data)) as file:
                picture = file.convert("RGB")
        except (OSError, TypeError) as error:
            raise ValueError(f"the picture of sample {samples[row]} does not decode: {error}") from error
        box, flip = None, False
        if replay:
            box, flip = replay[row]["box"], replay[row]["flip"]
        elif training:
            drawn = recipe.view.draw(recipe.seed, samples[row], epochs[row], *picture.size)
            box, flip = drawn["box"] if recipe.view.area else None, drawn["flip"]
        for name, model in wanted.items():
            arrays[name].append(_seen(picture, model, box, flip).tobytes())
    return {name: pa.array(each, pa.large_binary()) for name, each in arrays.items()}


def _seen(picture: Image.Image, model: Blueprint, box: Sequence[int] | None, flip: bool) -> np.ndarray:
    """A part of a picture as a model sees it, uint8 (size, size, 3); without a part as at inference."""
    if box:
        seen = picture.resize((model.size, model.size), Image.Resampling.BICUBIC, box=tuple(box))
    else:
        seen = picture
        for step in model.geometry:
            seen = step(seen)
    return np.asarray(seen.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if flip else seen)


def _tokens(model: Blueprint, texts: Sequence[str]) -> pa.Array:
    return _as_lists(model.tokenizer(list(texts)).numpy().astype(np.int32))


def _as_lists(rows: np.ndarray) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), rows.shape[1])


def _groups(recipe: ClipRecipe, rows: pa.Table) -> pa.Array:
    """A number for each value of the group's column; a row without one is a group of its own."""
    samples = [f"sample {sample}" for sample in rows[SAMPLE_ID].to_pylist()]
    given = rows[recipe.group].to_pylist() if recipe.group else [None] * len(samples)
    named = [sample if value is None else f"value {value}" for value, sample in zip(given, samples, strict=True)]
    return pa.array([number(name) for name in named], pa.int64())


def _targets(recipe: ClipRecipe, rows: pa.Table) -> pa.Array:
    names = rows[recipe.label].cast(pa.string())
    known = pc.index_in(names, pa.array(recipe.classes, pa.string()))
    unknown = names.filter(pc.and_(pc.is_null(known), pc.is_valid(names)))
    if len(unknown):
        value, count = unknown[0].as_py(), len(recipe.classes)
        raise RequestError(f"column {recipe.label!r} holds {value!r}, which is not among the {count} classes")
    return pc.fill_null(known.cast(pa.int64()), IGNORED)
