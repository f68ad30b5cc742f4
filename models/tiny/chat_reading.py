"""Reads the chat model's texts back: which form an instruction has and what it names; which objects a caption names."""

import re
from functools import cache

from potstill.models.tiny.chat_questions import COLOUR, FORMS, VAGUE, Question
from potstill.models.tiny.scenes import COLOUR_NAMES, CONCEPTS, GROUPS, NUMBERS, PLACES, Scene, amount, article, plural

SINGULAR = (
    {plural(word): word for word in CONCEPTS} | {article(word): word for word in CONCEPTS} | {w: w for w in CONCEPTS}
)


def read_instruction(text: str) -> Question | None:
    """Return the kind, names and grants of a well-formed instruction (its answer left empty), or None for other texts.

    A presence question counts as naming its object here, so that it is known what the text is about.
    """
    for kind, pattern in _patterns():
        if found := pattern.fullmatch(text):
            slots = found.groupdict()
            things = [SINGULAR[slots[key]] for key in ("a", "b") if slots.get(key)] + [
                g for g in [slots.get("group")] if g
            ]
            colours = [COLOUR + slots["colour"]] if slots.get("colour") else []
            return Question(kind, text, "", tuple(things), (*things, *colours))
    return None


def is_caption(text: str) -> bool:
    """True for a text that describes: an opening of a caption, listed objects, a background."""
    return bool(_caption_pattern().fullmatch(text))


def caption_objects(text: str) -> dict[str, int]:
    """Return the objects a caption names, with their counts, in order: "Two dogs and a cat on ..." -> {"dog": 2,
    "cat": 1}.
    """
    found = re.finditer(_amounts(), text[0].lower() + text[1:] if text else text)
    return {_counts()[match.group()][0]: _counts()[match.group()][1] for match in found}


def named_right(scene: Scene, text: str) -> tuple[int, int, int]:
    """Return how many objects of the scene the caption names, how many it should, and how many it names in all."""
    named = caption_objects(text)
    return sum(word in named for word in scene.objects), len(scene.objects), len(named)


@cache
def _counts() -> dict[str, tuple[str, int]]:
    return {amount(word, n): (word, n) for word in CONCEPTS for n in range(1, len(NUMBERS))}


@cache
def _amounts() -> str:
    return r"\b(?:" + "|".join(sorted(map(re.escape, _counts()), key=len, reverse=True)) + r")\b"


@cache
def _caption_pattern() -> re.Pattern[str]:
    listing = f"{_amounts()}(?:, {_amounts()})*(?: and {_amounts()})?"
    opening = "(?:The picture shows |This is a picture of |I see )?"
    return re.compile(f"{opening}{listing} on a (?:{'|'.join(COLOUR_NAMES)}) background\\.", re.IGNORECASE)


@cache
def _patterns() -> list[tuple[str, re.Pattern[str]]]:
    one, many = "|".join(CONCEPTS), "|".join(map(plural, CONCEPTS))
    slots = {
        "a": f"(?P<a>{one})", "as": f"(?P<a>{many})", "one_a": f"(?P<a>{'|'.join(map(article, CONCEPTS))})",
        "b": f"(?P<b>{one})", "bs": f"(?P<b>{many})", "group": f"(?P<group>{'|'.join(GROUPS)})",
        "colour": f"(?P<colour>{'|'.join(COLOUR_NAMES)})", "place": f"(?:{'|'.join(PLACES)})",
        "is_a": "(?:is|are)", "a_or_as": f"(?P<a>{many}|{one})",
    }  # fmt: skip
    patterns = []
    for kind, form in (FORMS | VAGUE).items():
        for wording in form.wordings:
            parts = re.split(r"\{(\w+)\}", wording)
            text = "".join(slots[part] if i % 2 else re.escape(part) for i, part in enumerate(parts))
            patterns.append((kind, re.compile(text)))
    return patterns
