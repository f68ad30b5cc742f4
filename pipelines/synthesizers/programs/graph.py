"""A scene graph: the things in a picture, what is said of each, and how they stand to each other."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

MOST_OBJECTS = 500
MOST_RELATIONS = 2000
_REMEDY = "correct the graph, or leave the row out"

Word = Annotated[str, Field(min_length=1, max_length=100)]
Coordinate = Annotated[float, Field(allow_inf_nan=False)]
Key = str | int


class BadGraph(ValueError):
    """A scene graph that is not what the format says."""


class _Link(BaseModel):
    name: Word
    object: Key


class _Object(BaseModel):
    name: Word
    id: Key | None = None
    attributes: tuple[Word, ...] = ()
    bbox: tuple[Coordinate, Coordinate, Coordinate, Coordinate] | None = None
    x: Coordinate | None = None
    y: Coordinate | None = None
    w: Coordinate | None = None
    h: Coordinate | None = None
    depth: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    relations: tuple[_Link, ...] = ()

    def box(self) -> tuple[float, float, float, float] | None:
        """Left, top, right, bottom. Raises :class:`BadGraph` for an empty box."""
        box = self.bbox
        if box is None and self.x is not None and self.y is not None and self.w is not None and self.h is not None:
            box = self.x, self.y, self.x + self.w, self.y + self.h
        if box is not None and (box[0] >= box[2] or box[1] >= box[3]):
            raise BadGraph(f"the box {box} of {self.name!r} is empty, not left < right and top < bottom; {_REMEDY}")
        return box


class _Relation(BaseModel):
    subject: Key
    predicate: Word
    object: Key


class _Graph(BaseModel):
    objects: tuple[_Object, ...] = Field(max_length=MOST_OBJECTS)
    relations: tuple[_Relation, ...] = Field(default=(), max_length=MOST_RELATIONS)
    width: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None


@dataclass(frozen=True)
class Thing:
    """One object: lower-case name and attributes, box (left, top, right, bottom), distance from the camera."""

    name: str
    attributes: frozenset[str] = frozenset()
    box: tuple[float, float, float, float] | None = None
    depth: float | None = None

    @property
    def phrases(self) -> tuple[str, ...]:
        """Each attribute of one word with the name, in order: ``brown dog``."""
        return tuple(f"{attribute} {self.name}" for attribute in sorted(self.attributes) if " " not in attribute)

    @property
    def area(self) -> float:
        """Area of the box; 0 without one."""
        return (self.box[2] - self.box[0]) * (self.box[3] - self.box[1]) if self.box else 0.0


@dataclass(frozen=True)
class SceneGraph:
    """Things, relations as (subject, predicate, object) with positions of things, and the picture's width if known."""

    things: tuple[Thing, ...]
    relations: tuple[tuple[int, str, int], ...] = ()
    width: float | None = None

    @cached_property
    def counts(self) -> Mapping[str, int]:
        """Name -> how many things have it."""
        return Counter(thing.name for thing in self.things)

    @cached_property
    def words(self) -> tuple[str, ...]:
        """Per thing the words that mean it alone: its name, or an attribute and its name; empty if there are none."""
        phrases = Counter(self.counts)
        for thing in self.things:
            phrases.update(thing.phrases)
        return tuple(
            next((words for words in (thing.name, *thing.phrases) if phrases[words] == 1), "")
            if not self.is_ending(thing.name)
            else ""
            for thing in self.things
        )

    def is_ending(self, name: str) -> bool:
        """Whether a longer name ends with this one, as ``guide dog`` does with ``dog``: is it one of them, or not?"""
        return any(other.endswith(f" {name}") for other in self.counts)

    @cached_property
    def named(self) -> tuple[int, ...]:
        """Positions of the things that words can single out."""
        return tuple(index for index, words in enumerate(self.words) if words)


def parse(text: str | None, key: str | None = None) -> SceneGraph | None:
    """The graph in a JSON object, or under its ``key``; None where there is no graph. Raises :class:`BadGraph`.

    Either ``{"objects": [{name, attributes, bbox, depth}], "relations": [{subject, predicate, object}], "width"}``, or
    the form of GQA: ``objects`` by id, each with x, y, w, h and its own ``relations`` of {name, object}.
    """
    tree = _loaded(text)
    if key is not None and isinstance(tree, dict):
        tree = tree.get(key)
        tree = _loaded(tree) if isinstance(tree, str) else tree
    if tree is None or (isinstance(tree, dict) and "objects" not in tree):
        return None
    if not isinstance(tree, dict):
        raise BadGraph(f"a scene graph must be a JSON object, found a {type(tree).__name__}; {_REMEDY}")
    if isinstance(tree["objects"], dict):
        listed = [{"id": id_, **each} if isinstance(each, dict) else each for id_, each in tree["objects"].items()]
        tree = {**tree, "objects": listed}
    try:
        return _linked(_Graph.model_validate(tree))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        what = f"{place}: {first['msg']} (got {first['input']!r:.80})"
        raise BadGraph(f"scene graph, {error.error_count()} mistakes; {what}; {_REMEDY}") from None


def _loaded(text: str | None) -> Any:
    try:
        return None if text is None else json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadGraph(f"a scene graph must be JSON: {error} in {text!r:.80}; {_REMEDY}") from None


def _linked(graph: _Graph) -> SceneGraph:
    """The graph with ids resolved to positions."""
    ids = [str(index if each.id is None else each.id) for index, each in enumerate(graph.objects)]
    places = {id_: index for index, id_ in enumerate(ids)}
    if len(places) < len(ids):
        twice = next(id_ for id_, count in Counter(ids).items() if count > 1)
        raise BadGraph(f"several objects have the id {twice!r}; {_REMEDY}")
    links = [
        (ids[index], link.name, link.object) for index, each in enumerate(graph.objects) for link in each.relations
    ]
    links += [(each.subject, each.predicate, each.object) for each in graph.relations]
    missing = next((str(end) for start, _, stop in links for end in (start, stop) if str(end) not in places), None)
    if missing is not None:
        raise BadGraph(f"a relation names the object {missing!r}, which is not among {len(ids)} objects; {_REMEDY}")
    return SceneGraph(
        tuple(
            Thing(_plain(each.name), frozenset(map(_plain, each.attributes)), each.box(), each.depth)
            for each in graph.objects
        ),
        tuple(dict.fromkeys((places[str(start)], _plain(word), places[str(stop)]) for start, word, stop in links)),
        graph.width,
    )


def _plain(text: str) -> str:
    """Lower case, single spaces. Raises :class:`BadGraph` for what is no word at all."""
    plain = " ".join(text.casefold().split())
    if not any(letter.isalnum() for letter in plain) or not plain.isprintable():
        raise BadGraph(f"{text!r} is no name: no letter or digit, or a control character; {_REMEDY}")
    return plain
