"""Small stages and pictures with results that can be worked out by hand: doubles of users' units, not of ours."""

import io
import os
import time
import uuid
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
import pyarrow as pa
from PIL import Image
from pydantic import Field

from potstill.pipelines import schema
from potstill.pipelines.filters.filter import Filter
from potstill.pipelines.plan import Plan
from potstill.pipelines.scorers.clip_score import ClipScore
from potstill.pipelines.selectors.grouping import Grouping
from potstill.pipelines.selectors.random_subset import RandomSubset
from potstill.pipelines.selectors.selector import Choice, Selector
from potstill.pipelines.stage import RowStage


class Toy(RowStage):
    """Writes the length of the encoded image; misbehaves on rows whose caption says so."""

    kind: Literal["toy"] = "toy"
    offset: int = 0
    calls: str = ""
    """Folder in which each call leaves a file, named at random, with the ids that it got."""
    slow: float = 0

    def reads(self):
        return (schema.IMAGE, schema.CAPTION)

    def writes(self):
        return {self.name: pa.int64()}

    def build(self):
        return self._call

    def _call(self, rows):
        captions = rows[schema.CAPTION].to_pylist()
        if self.calls:
            ids = "\n".join(rows[schema.SAMPLE_ID].to_pylist())
            Path(self.calls, f"{self.name}-{uuid.uuid4().hex}").write_text(ids)
        time.sleep(self.slow * rows.num_rows)
        if "kill" in captions:
            os._exit(1)
        if "raise" in captions:
            raise ValueError("a row raised")
        return {self.name: [len(data) + self.offset for data in rows[schema.IMAGE].to_pylist()]}


class Light(Toy):
    """The same, but small runs of it do without Ray."""

    kind: Literal["light"] = "light"
    in_process: ClassVar[bool] = True


class Gate(RowStage):
    """Rejects rows whose ``size`` is odd."""

    kind: Literal["gate"] = "gate"
    size: str = "toy"

    def reads(self):
        return (self.size,)

    def writes(self):
        return {f"{self.name}_reason": pa.string()}

    def gate(self):
        return f"{self.name}_reason"

    def build(self):
        return lambda rows: {f"{self.name}_reason": ["odd" if v % 2 else None for v in rows[self.size].to_pylist()]}


class MetaLength(RowStage):
    """Writes the length of what the source holds about the row."""

    kind: Literal["meta_length"] = "meta_length"

    def reads(self):
        return (schema.META,)

    def writes(self):
        return {self.name: pa.int64()}

    def build(self):
        return lambda rows: {self.name: [len(text or "") for text in rows[schema.META].to_pylist()]}


class Top(Selector):
    """Keeps the ``budget`` largest values of a column and writes each row's place among them, from 0."""

    kind: Literal["top"] = "top"
    column: str = "toy"
    budget: int = 2
    calls: str = ""

    def reads(self):
        return (self.column,)

    def writes(self):
        return {f"{self.name}_place": pa.int32()}

    def select(self, rows, seed):
        if self.calls:
            Path(self.calls, f"{self.name}-{len(list(Path(self.calls).iterdir()))}").write_text("\n".join(rows.texts))
        place = np.empty(len(rows), np.int32)
        place[np.argsort(-rows.numbers(self.column), kind="stable")] = np.arange(len(rows))
        reasons = np.where(place > 2 * self.budget, "far", "near").astype(object)
        return Choice(place < self.budget, reasons, {f"{self.name}_place": pa.array(place)})


class Double(RowStage):
    """Writes twice a column of whole numbers."""

    kind: Literal["double"] = "double"
    column: str = "top_place"
    calls: str = ""

    def reads(self):
        return (self.column,)

    def writes(self):
        return {self.name: pa.int64()}

    def build(self):
        return self._call

    def _call(self, rows):
        if self.calls:
            Path(self.calls, uuid.uuid4().hex).write_text("\n".join(rows[schema.SAMPLE_ID].to_pylist()))
        return {self.name: [2 * value for value in rows[self.column].to_pylist()]}


class Pairs(Grouping):
    """Groups of two, by the value of a column: the largest with the smallest, and so on inwards."""

    kind: Literal["pairs"] = "pairs"
    column: str = "toy"

    def reads(self):
        return (self.column,)

    def groups(self, rows, seed):
        order = np.argsort(rows.numbers(self.column), kind="stable")
        for place in range(len(order) // 2):
            yield int(order[-1 - place]), int(order[place])


class Sum(RowStage):
    """Writes the sum over a group's pictures of their bytes, and of a column that a stage wrote before."""

    kind: Literal["sum"] = "sum"
    calls: str = ""

    def reads(self):
        return ("pairs.image", "pairs.toy", "pairs.meta")

    def writes(self):
        return {"bytes": pa.int64(), "toys": pa.int64(), "metas": pa.list_(pa.string())}

    def build(self):
        return self._call

    def _call(self, rows):
        if self.calls:
            Path(self.calls, uuid.uuid4().hex).write_text("\n".join(rows[schema.SAMPLE_ID].to_pylist()))
        images, toys, metas = (rows[name].to_pylist() for name in self.reads())
        return {"bytes": [sum(map(len, each)) for each in images], "toys": [sum(each) for each in toys], "metas": metas}


class ToyPlan(Plan):
    """A plan that knows the toy stages too."""

    stages: tuple[
        Annotated[
            Toy | Light | Gate | MetaLength | Top | Double | Pairs | Sum | ClipScore | Filter | RandomSubset,
            Field(discriminator="kind"),
        ],
        ...,
    ] = ()


def computed(folder) -> list[str]:
    """Ids that toy stages were called with, with repeats."""
    return sorted(id_ for file in Path(folder).iterdir() for id_ in file.read_text().split("\n"))


def png(colour=(200, 30, 30), size=(32, 24)) -> bytes:
    """A plain picture."""
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def pictures(folder: Path, count: int, captions=None) -> Path:
    """``count`` different pictures in a folder; ``captions`` maps a number to its sidecar text."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (folder / f"{number:04d}.png").write_bytes(png((number % 256, number // 256, 99)))
    for number, text in (captions or {}).items():
        (folder / f"{number:04d}.txt").write_text(text)
    return folder
