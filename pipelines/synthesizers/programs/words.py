"""What programs know about English words: number, article, and which words rule each other out."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from potstill.pipelines.synthesizers.programs.graph import Thing

IRREGULAR = {
    "person": "people", "man": "men", "woman": "women", "child": "children", "foot": "feet", "tooth": "teeth",
    "mouse": "mice", "goose": "geese", "leaf": "leaves", "knife": "knives", "shelf": "shelves", "loaf": "loaves",
    "sheep": "sheep", "fish": "fish",
}  # fmt: skip
MANY = frozenset(IRREGULAR.values())

COLOURS = ("black", "blue", "brown", "green", "orange", "pink", "purple", "red", "white", "yellow")
FAMILIES = (
    COLOURS,
    ("large", "small"),
    ("long", "short"),
    ("open", "closed"),
    ("wet", "dry"),
    ("empty", "full"),
    ("young", "old"),
    ("round", "square"),
    ("clean", "dirty"),
)
"""Attributes of which a thing that has one does not have another, unless it is said to."""

OPPOSITES = (
    ("on", "under"),
    ("above", "below"),
    ("in front of", "behind"),
    ("left of", "right of"),
    ("to the left of", "to the right of"),
    ("inside", "outside"),
)
"""Relations that rule each other out between the same two things."""

ONE_WAY = (
    "above", "behind", "below", "carrying", "covering", "driving", "eating", "hanging from", "has", "holding", "in",
    "in front of", "inside", "left of", "on", "on top of", "over", "parked on", "part of", "pulling", "pushing",
    "riding", "right of", "sitting on", "standing on", "to the left of", "to the right of", "under", "using", "wearing",
)  # fmt: skip
"""Relations that do not hold both ways between the same two things."""

ABSENT = (
    "accordion", "anchor", "cactus", "candle", "canoe", "compass", "dragon", "drum", "fire hydrant", "globe",
    "guitar", "hammock", "harp", "igloo", "kite", "ladder", "lighthouse", "microscope", "parachute", "piano", "pumpkin",
    "rocket", "saxophone", "scarecrow", "snowman", "submarine", "surfboard", "telescope", "tent", "trampoline",
    "trumpet", "typewriter", "violin", "volcano", "wheelbarrow", "windmill",
)  # fmt: skip
"""Things to ask for where they are not: none is a kind of another, or a usual word for something else."""


def is_plural(word: str) -> bool:
    """Whether a name already means several: ``trees``, ``people``."""
    last = word.split()[-1]
    return last in MANY or (last.endswith("s") and not last.endswith(("ss", "us", "is")))


def plural(word: str) -> str:
    """The plural of a name, by rule: ``dog`` -> ``dogs``, ``street bus`` -> ``street buses``."""
    *before, last = word.split()
    if last in IRREGULAR:
        last = IRREGULAR[last]
    elif last.endswith(("s", "x", "z", "ch", "sh")):
        last += "es"
    elif last.endswith("y") and last[-2:-1] not in tuple("aeiou"):
        last = last[:-1] + "ies"
    else:
        last += "s"
    return " ".join([*before, last])


def any_of(word: str) -> str:
    """How a question about a name begins: ``Is there a dog``, ``Are there any trees``."""
    if is_plural(word):
        return f"Are there any {word}"
    return f"Is there {'an' if word[0] in 'aeiou' and not word.startswith('uni') else 'a'} {word}"


def listed(words: Sequence[str]) -> str:
    """``a, b or c``."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def rivals(attribute: str) -> tuple[str, ...]:
    """Attributes that rule this one out."""
    return tuple(each for family in FAMILIES if attribute in family for each in family if each != attribute)


def is_not(thing: Thing, attribute: str) -> bool:
    """Whether a thing surely lacks an attribute: it has a rival of it, and not the attribute itself."""
    return attribute not in thing.attributes and not thing.attributes.isdisjoint(rivals(attribute))


def opposite(predicate: str) -> str | None:
    """The relation that cannot hold where this one does."""
    return next((pair[1 - pair.index(predicate)] for pair in OPPOSITES if predicate in pair), None)
