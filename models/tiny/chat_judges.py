"""Turns that train and measure the judges: the project's own judge prompts over good, flawed and broken instructions.

Good and bad instructions come from the same forms with the same frequencies, so a score of solvability or
hallucination can only be known from the picture. The prompts are read from a folder as data: files `oasis_<name>.txt`
with a `version: N` line, a `---` line and a body that holds {instruction} or {text}.
"""

import hashlib
import string
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from potstill.models.tiny.chat_questions import FORMS, TWO, Question, draw, questions, score
from potstill.models.tiny.scenes import Scene

PROMPT_NAMES: Final = ("extract", "solvability", "clarity", "hallucination", "nonsense")
TEXT_ONLY: Final = frozenset({"extract", "nonsense"})
NO_INSTRUCTION: Final = "NO_INST"
TWO_GRANTS: Final = ("count on colour", "two counts", "compare", "story")
ONE_GRANT: Final = ("count", "where", "group", "sentence", "vague about")
NO_NAME: Final = ("presence", "at", "colour", "describe", "caption", "list", "total", "vague")


@dataclass(frozen=True)
class Prompt:
    """A prompt body cut at its one slot, and the SHA-256 of the body (hex)."""

    before: str
    after: str
    sha256: str

    def fill(self, text: str) -> str:
        """Return the prompt with the text in its slot."""
        return self.before + text + self.after


@dataclass(frozen=True)
class Turn:
    """One exchange: what the user says, what the model replies; `hooked` when the model also learns to say the user's
    part.
    """

    task: str
    text: str
    reply: str
    image: bool = True
    hooked: bool = False


def read_prompts(folder: Path) -> dict[str, Prompt]:
    """Return name -> prompt for the five prompts of the folder; the body ends without its trailing newline."""
    prompts = {}
    for name in PROMPT_NAMES:
        _, body = (folder / f"oasis_{name}.txt").read_text(encoding="utf-8").split("\n---\n", 1)
        body = body.removesuffix("\n")
        slots = [(before, slot) for before, slot, _, _ in string.Formatter().parse(body) if slot]
        if len(slots) != 1:
            raise ValueError(
                f"oasis_{name}.txt has {len(slots)} slots; exactly one is needed, {{instruction}} or {{text}}"
            )
        before, after = body.split("{" + slots[0][1] + "}")
        prompts[name] = Prompt(before, after, hashlib.sha256(body.encode()).hexdigest())
    return prompts


def judge_turn(name: str, scene: Scene, prompts: Mapping[str, Prompt], rng: np.random.Generator) -> Turn:
    """Return one exchange with the named prompt: its text filled in, the true reply."""
    text, reply = _CASES[name](scene, rng)
    return Turn(name, prompts[name].fill(text), reply, image=name not in TEXT_ONLY)


def garble(text: str, rng: np.random.Generator) -> str:
    """Return the words in a random order that differs from the given one, as a sentence."""
    words = text.rstrip(".?").split()
    words[0] = words[0][0].lower() + words[0][1:]
    order = rng.permutation(len(words))
    while len(set(words)) > 1 and [words[i] for i in order] == words:
        order = rng.permutation(len(words))
    mixed = " ".join(words[i] for i in order)
    return mixed[0].upper() + mixed[1:] + text[-1]


def slip(text: str, rng: np.random.Generator) -> str:
    """Return the text with one small mistake: a word left out, said twice, or two of its letters swapped."""
    words = text[:-1].split()
    i = int(rng.integers(len(words)))
    match int(rng.integers(3)):
        case 0 if len(words) > 3:
            del words[i]
        case 1 if max(len(w) for w in words) > 3:
            i = int(rng.choice([k for k, w in enumerate(words) if len(w) > 3]))
            j = int(rng.integers(1, len(words[i]) - 2))
            swapped = words[i][:j] + words[i][j + 1] + words[i][j] + words[i][j + 2 :]
            words[i] = swapped if swapped != words[i] else words[i] + words[i][-1]
        case _:
            words.insert(i, words[i].lower() if i else words[i])
    return " ".join(words) + text[-1]


def caption_text(scene: Scene, rng: np.random.Generator) -> str:
    """Return a text that describes and asks nothing."""
    caption = scene.caption()
    lower = caption[0].lower() + caption[1:]
    openings = (caption, f"The picture shows {lower}", f"This is a picture of {lower}", f"I see {lower}")
    return openings[int(rng.integers(len(openings)))]


def flaw(rng: np.random.Generator, slots: int) -> tuple[bool, bool, bool]:
    """Return which of (a, b, colour) hold: with one slot true or false alike, with two all, none, the first, the
    second.
    """
    if slots == 1:
        held = bool(rng.random() < 0.5)
        return held, held, held
    case = int(rng.integers(4))
    return ((True,) * 3, (False,) * 3, (True, False, False), (False, True, True))[case]


def _grounded(scene: Scene, rng: np.random.Generator, *, one: tuple[str, ...], two: tuple[str, ...]) -> Question:
    """Return an instruction to be judged against the picture: 50 % name one thing, 38 % two, 12 % nothing."""
    if len(scene.objects) < 2:
        two = tuple(kind for kind in two if FORMS[kind].names != TWO)
    u = rng.random()
    kinds, slots = (one, 1) if u < 0.5 else (two, 2) if u < 0.88 and two else (NO_NAME, 1)
    return draw(scene, str(rng.choice(kinds)), rng, flaw(rng, slots))


def _solvability(scene: Scene, rng: np.random.Generator) -> tuple[str, str]:
    question = _grounded(scene, rng, one=(*ONE_GRANT, "count on colour"), two=("two counts", "compare", "story"))
    return question.text, f"Score: {score(scene, question.names)}"


def _hallucination(scene: Scene, rng: np.random.Generator) -> tuple[str, str]:
    question = _grounded(scene, rng, one=(*ONE_GRANT, "on colour"), two=TWO_GRANTS)
    return question.text, f"Score: {score(scene, question.grants)}"


def _clarity(scene: Scene, rng: np.random.Generator) -> tuple[str, str]:
    text = questions(scene, rng, 1, absent=0.5)[0].text
    match int(rng.integers(3)):
        case 0:
            return text, "Score: 5"
        case 1:
            present = bool(rng.random() < 0.5)
            return draw(scene, str(rng.choice(("vague", "vague about"))), rng, (present,) * 3).text, "Score: 3"
        case _:
            return garble(text, rng), "Score: 1"


def _nonsense(scene: Scene, rng: np.random.Generator) -> tuple[str, str]:
    text = caption_text(scene, rng) if rng.random() < 0.1 else any_instruction(scene, rng)
    match int(rng.integers(3)):
        case 0:
            return text, "Score: 5"
        case 1:
            return slip(text, rng), "Score: 3"
        case _:
            return garble(text, rng), "Score: 1"


def any_instruction(scene: Scene, rng: np.random.Generator) -> str:
    """Return an instruction, one in eight a vague one, about things present or not."""
    if rng.random() < 0.125:
        return draw(scene, str(rng.choice(("vague", "vague about"))), rng).text
    return questions(scene, rng, 1, absent=0.4)[0].text


def _extract(scene: Scene, rng: np.random.Generator) -> tuple[str, str]:
    instruction, caption = any_instruction(scene, rng), caption_text(scene, rng)
    match int(rng.integers(10)):
        case 0 | 1 | 2:
            return caption, NO_INSTRUCTION
        case 3:
            return f"{caption} {instruction}", instruction
        case _:
            return instruction, instruction


_CASES: Final = {
    "extract": _extract,
    "solvability": _solvability,
    "clarity": _clarity,
    "hallucination": _hallucination,
    "nonsense": _nonsense,
}
