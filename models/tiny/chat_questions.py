"""Questions and instructions about emoji scenes, with answers that follow from the scene.

A form is a text with slots: {a} and {b} are concepts, {group} one of the 8 groups, {colour} a background colour,
{place} a cell. Whether the thing in a slot is in the picture is decided by the caller, for every form alike, so the
text alone does not tell. What a question names decides the judges' scores: `names` (objects and groups asked about)
for solvability, `grants` (all that it takes for granted, the colour too) for hallucination. Presence questions ("Is
there a dog?") name nothing: they can always be answered.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from potstill.models.tiny.scenes import (
    COLOUR_NAMES,
    CONCEPTS,
    GROUP_OF,
    GROUPS,
    NUMBERS,
    PLACES,
    Scene,
    amount,
    article,
    join,
    plural,
)

COLOUR: Final = "colour "  # prefix that marks a granted colour among `grants`


@dataclass(frozen=True)
class Slots:
    """What fills a form: concepts a and b, a group, a colour, a cell number."""

    a: str
    b: str
    group: str
    colour: str
    place: int


@dataclass(frozen=True)
class Question:
    """An instruction, its true answer for one scene, and what it names and takes for granted."""

    kind: str
    text: str
    answer: str
    names: tuple[str, ...] = ()
    grants: tuple[str, ...] = ()


def holds(scene: Scene, thing: str) -> bool:
    """True when the scene shows the concept, a member of the group, or (with the COLOUR prefix) has that background."""
    if thing.startswith(COLOUR):
        return scene.background == thing.removeprefix(COLOUR)
    if thing in GROUPS:
        return any(GROUP_OF[c] == thing for c in scene.cells if c >= 0)
    return thing in scene.objects


def score(scene: Scene, things: tuple[str, ...]) -> int:
    """Judge score by scene truth: 5 when all things hold (or none is named), 3 when some do, 1 when none does."""
    held = sum(holds(scene, thing) for thing in things)
    return 5 if held == len(things) else 3 if held else 1


def sentence(text: str) -> str:
    """Return the text with a capital first letter and a full stop."""
    return text[0].upper() + text[1:] + "."


def _number(word: str, n: int) -> str:
    """Return "one dog", "two dogs", "no dogs"."""
    return f"{NUMBERS[n]} {word if n == 1 else plural(word)}"


def _there(word: str, n: int) -> str:
    """Return "There is one dog." or "There are two dogs."."""
    return f"There {'is' if n == 1 else 'are'} {_number(word, n)}."


def _absent(scene: Scene, words: tuple[str, ...]) -> str | None:
    """Return the answer that names what is missing, or None when every word is in the scene."""
    missing = [word for word in words if not holds(scene, word)]
    return f"There is no {' and no '.join(missing)} in the picture." if missing else None


def _count(s: Scene, x: Slots) -> str:
    return _absent(s, (x.a,)) or _there(x.a, s.counts[x.a])


def _presence(s: Scene, x: Slots) -> str:
    n = s.counts.get(x.a, 0)
    return f"Yes, there {'is' if n == 1 else 'are'} {_number(x.a, n)}." if n else f"No, there is no {x.a}."


def _where(s: Scene, x: Slots) -> str:
    places = s.places(x.a)
    return _absent(s, (x.a,)) or f"{'It is' if len(places) == 1 else 'They are'} at the {join(places)}."


def _at(s: Scene, x: Slots) -> str:
    cell = s.cells[x.place]
    return sentence(article(CONCEPTS[cell])) if cell >= 0 else "Nothing is there."


def _colour(s: Scene, x: Slots) -> str:
    return f"The background is {s.background}."


def _wrong_colour(s: Scene, x: Slots) -> str | None:
    return None if s.background == x.colour else f"The background is not {x.colour}, it is {s.background}."


def _on_colour(s: Scene, x: Slots) -> str:
    return _wrong_colour(s, x) or sentence(s.listing())


def _count_on_colour(s: Scene, x: Slots) -> str:
    return _absent(s, (x.a,)) or _wrong_colour(s, x) or _there(x.a, s.counts[x.a])


def _group(s: Scene, x: Slots) -> str:
    members = [amount(word, n) for word, n in s.counts.items() if GROUP_OF[CONCEPTS.index(word)] == x.group]
    return sentence(join(members)) if members else f"There is no {x.group} in the picture."


def _two_counts(s: Scene, x: Slots) -> str:
    return _absent(s, (x.a, x.b)) or sentence(f"{_number(x.a, s.counts[x.a])} and {_number(x.b, s.counts[x.b])}")


def _compare(s: Scene, x: Slots) -> str:
    if missing := _absent(s, (x.a, x.b)):
        return missing
    a, b = s.counts[x.a], s.counts[x.b]
    return (
        f"There are as many {plural(x.a)} as {plural(x.b)}."
        if a == b
        else f"There are more {plural(x.a if a > b else x.b)}."
    )


def _story(s: Scene, x: Slots) -> str:
    return _absent(s, (x.a, x.b)) or f"Once {article(x.a)} met {article(x.b)} on a {s.background} background."


def _sentence_about(s: Scene, x: Slots) -> str:
    n = s.counts.get(x.a, 0)
    return _absent(s, (x.a,)) or sentence(
        f"{_number(x.a, n)} {'is' if n == 1 else 'are'} on a {s.background} background"
    )


def _describe(s: Scene, x: Slots) -> str:
    return f"The picture shows {s.caption()[0].lower()}{s.caption()[1:]}"


def _caption(s: Scene, x: Slots) -> str:
    return s.caption()


def _list(s: Scene, x: Slots) -> str:
    return sentence(s.listing())


def _total(s: Scene, x: Slots) -> str:
    return _there("thing", sum(s.counts.values()))


@dataclass(frozen=True)
class Form:
    """One kind of question: its wordings, its answer, and which slots it names (objects) and takes for granted."""

    wordings: tuple[str, ...]
    answer: Callable[[Scene, Slots], str]
    names: tuple[str, ...] = ()
    grants_colour: bool = False
    weight: float = 1.0


ONE: Final = ("a",)
TWO: Final = ("a", "b")
FORMS: Final[dict[str, Form]] = {
    "count": Form(
        ("How many {as} are there?", "How many {as} can you see?", "Count the {as} in the picture."),
        _count, ONE, weight=2,
    ),
    "presence": Form(
        ("Is there {one_a} in the picture?", "Can you see {one_a}?", "Does the picture show {one_a}?"), _presence,
    ),
    "where": Form(
        ("Where {is_a} the {a_or_as}?", "In which part of the picture {is_a} the {a_or_as}?"), _where, ONE, weight=1.5,
    ),
    "at": Form(("What is at the {place}?", "What can you see at the {place} of the picture?"), _at),
    "colour": Form(("What colour is the background?", "Which colour is behind the objects?"), _colour, weight=0.5),
    "on colour": Form(
        ("What stands on the {colour} background?", "Name the objects on the {colour} background."),
        _on_colour, grants_colour=True,
    ),
    "count on colour": Form(
        ("How many {as} stand on the {colour} background?", "Count the {as} on the {colour} background."),
        _count_on_colour, ONE, grants_colour=True,
    ),
    "group": Form(("Which {group} can you see?", "What {group} does the picture show?"), _group, ("group",)),
    "two counts": Form(
        ("How many {as} and how many {bs} are there?", "Count the {as} and the {bs}."), _two_counts, TWO,
    ),
    "compare": Form(("Are there more {as} or more {bs}?", "Which are more, the {as} or the {bs}?"), _compare, TWO),
    "story": Form(
        ("Tell a short story about the {a} and the {b}.", "Write one line about the {a} and the {b}."),
        _story, TWO, weight=0.7,
    ),
    "sentence": Form(
        ("Write a short sentence about the {as}.", "Describe the {as} in one sentence."), _sentence_about, ONE,
    ),
    "describe": Form(("Describe the picture.", "What does the picture show?"), _describe),
    "caption": Form(("Write a caption for the picture.", "What would be a good caption?"), _caption, weight=0.6),
    "list": Form(("List the objects in the picture.", "Which objects can you see?"), _list, weight=0.6),
    "total": Form(("How many things are there in all?", "Count all objects."), _total, weight=0.5),
}  # fmt: skip
VAGUE: Final[dict[str, Form]] = {
    "vague": Form(
        ("Tell me about it.", "Say something.", "Tell me more.", "What do you think?", "Explain this.", "Go on.",
         "What about it?"),
        _describe,
    ),
    "vague about": Form(
        ("What about the {as}?", "Do something with the {as}.", "And the {as}?", "Talk about the {as}.",
         "The {as}, please."),
        _sentence_about, ONE,
    ),
}  # fmt: skip


def fill(kind: str, wording: str, scene: Scene, slots: Slots, *, many: bool) -> Question:
    """Return the question of that kind and wording; `many` chooses "the dogs" or "the dog" where a form allows both."""
    form = FORMS.get(kind) or VAGUE[kind]
    text = wording.format_map(
        {
            "a": slots.a, "as": plural(slots.a), "one_a": article(slots.a), "b": slots.b, "bs": plural(slots.b),
            "group": slots.group, "colour": slots.colour, "place": PLACES[slots.place],
            "is_a": "are" if many else "is", "a_or_as": plural(slots.a) if many else slots.a,
        }
    )  # fmt: skip
    names = tuple(getattr(slots, name) for name in form.names)
    grants = (*names, COLOUR + slots.colour) if form.grants_colour else names
    return Question(kind, text, form.answer(scene, slots), names, grants)


def other_concept(scene: Scene, rng: np.random.Generator) -> str:
    """Return a concept that is not in the scene; half the time of the same group as one that is, as a hard negative."""
    near = GROUP_OF[CONCEPTS.index(str(rng.choice(scene.objects)))] if rng.random() < 0.5 else None
    pool = [c for c, g in zip(CONCEPTS, GROUP_OF, strict=True) if c not in scene.objects and near in (None, g)]
    return pool[int(rng.integers(len(pool)))]


def draw_slots(scene: Scene, rng: np.random.Generator, present: tuple[bool, bool, bool]) -> Slots:
    """Return slots where (a and group, b, colour) are true of the scene or not, as asked.

    A second present concept exists only in scenes of two or more; in the others b is absent whatever is asked.
    """
    objects = [str(word) for word in rng.permutation(scene.objects)]
    a = objects.pop() if present[0] else other_concept(scene, rng)
    b = objects[0] if present[1] and objects else other_concept(scene, rng)
    if b == a:
        return draw_slots(scene, rng, present)
    colour = scene.background if present[2] else str(rng.choice([c for c in COLOUR_NAMES if c != scene.background]))
    return Slots(a, b, _draw_group(scene, rng, present[0]), colour, int(rng.integers(9)))


def _draw_group(scene: Scene, rng: np.random.Generator, present: bool) -> str:
    """Return a group that the scene shows, or does not, as often as its concepts are drawn."""
    if present:
        return GROUP_OF[CONCEPTS.index(str(rng.choice(scene.objects)))]
    group = GROUP_OF[int(rng.integers(len(GROUP_OF)))]
    return _draw_group(scene, rng, present) if holds(scene, group) else group


def draw(
    scene: Scene, kind: str, rng: np.random.Generator, present: tuple[bool, bool, bool] = (True, True, True)
) -> Question:
    """Return a question of that kind in a random wording, with (a and group, b, colour) true of the scene or not."""
    form = FORMS.get(kind) or VAGUE[kind]
    slots = draw_slots(scene, rng, present)
    many = scene.counts[slots.a] > 1 if slots.a in scene.objects else rng.random() < 0.7
    return fill(kind, form.wordings[int(rng.integers(len(form.wordings)))], scene, slots, many=bool(many))


def usual_kinds(scene: Scene) -> tuple[list[str], np.ndarray]:
    """Return the kinds of question that suit the scene and how often each is asked (sums to 1)."""
    kinds = [kind for kind, form in FORMS.items() if len(scene.objects) > 1 or form.names != TWO]
    weights = np.array([FORMS[kind].weight for kind in kinds])
    return kinds, weights / weights.sum()


def questions(scene: Scene, rng: np.random.Generator, n: int, *, absent: float = 0.2) -> list[Question]:
    """Return n questions with true answers; each slot names something absent with probability `absent`."""
    kinds, weights = usual_kinds(scene)
    drawn = rng.choice(len(kinds), size=n, p=weights)
    return [draw(scene, kinds[k], rng, coins(rng, 1 - absent)) for k in drawn]


def coins(rng: np.random.Generator, chance: float) -> tuple[bool, bool, bool]:
    """Return three independent draws, each true with the given chance."""
    a, b, colour = rng.random(3) >= 1 - chance
    return bool(a), bool(b), bool(colour)
