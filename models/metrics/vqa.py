"""Answers to questions about pictures against one or several human answers: exact, by consensus, and nearly right.

Source: Goyal et al. 2017, arXiv 1612.00837, and the evaluation of visualqa.org (normalisation, consensus); Biten et al.
2019, arXiv 1905.13648, equation 1 (ANLS).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import product

MARKS = ';/[]"{}()=+\\_-><@`,?!'
"""Removed where one stands beside a space, or the text has a number such as 1,000; else a space takes its place."""
NUMBERS = {word: str(number) for number, word in enumerate(
    ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
)} | {"none": "0"}  # fmt: skip
ARTICLES = frozenset({"a", "an", "the"})
CONTRACTED = (
    "ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd "
    "he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't must've "
    "needn't not've o'clock oughtn't shan't she'd've should've shouldn't shouldn't've somebody'd've somebody'll "
    "somebody's someone'd someone'd've someone'll someone's something'd something'd've something'll that's there'd "
    "there'd've there're there's they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't "
    "what'll what're what's what've when's where'd where's where've who'd who'd've who'll who's who've why'll "
    "why're why's won't would've wouldn't wouldn't've y'all y'all'll y'all'd've you'd you'd've you'll you're you've "
)


def _lazy(word: str) -> list[str]:
    """The ways to write a contraction with some of its apostrophes left out."""
    parts = word.split("'")
    ways = product(("'", ""), repeat=len(parts) - 1)
    return ["".join(sum(zip(parts, (*way, ""), strict=True), ())) for way in ways]


CONTRACTIONS = {lazy: word for word in CONTRACTED.split() for lazy in _lazy(word)}


def normalise(answer: str) -> str:
    """The answer as the standard compares it: lower case, no punctuation, no articles, number words up to ten as
    digits, contractions with their apostrophes, single spaces.
    """
    text = answer.replace("\n", " ").replace("\t", " ").strip()
    thousands = re.search(r"\d,\d", text) is not None
    clean = text
    for mark in MARKS:
        beside_space = f"{mark} " in text or f" {mark}" in text
        clean = clean.replace(mark, "" if beside_space or thousands else " ")
    words = re.sub(r"\.(?!\d)", "", clean).lower().split()
    numbered = (NUMBERS.get(word, word) for word in words)
    return " ".join(CONTRACTIONS.get(word, word) for word in numbered if word not in ARTICLES)


def exact_match(answer: str, answers: Sequence[str]) -> float:
    """1 if the normalised answer is one of the normalised answers, else 0. Raises ``ValueError`` without answers."""
    return float(normalise(answer) in map(normalise, _some(answers)))


def soft_accuracy(answer: str, answers: Sequence[str]) -> float:
    """Agreement with several people, 0..1: the mean of min(1, said by others / 3) over each choice of one left out.

    With fewer than four answers all the others take the place of three, and a single answer is matched exactly.
    Everything is normalised; the official script leaves the answers as they are where all of them are the same.
    """
    said = [normalise(one) == normalise(answer) for one in _some(answers)]
    if len(said) == 1:
        return float(said[0])
    enough = min(3, len(said) - 1)
    return sum(min(1.0, (sum(said) - left_out) / enough) for left_out in said) / len(said)


def anls(answer: str, answers: Sequence[str], threshold: float = 0.5) -> float:
    """Normalised Levenshtein similarity to the nearest answer, 0..1; 0 from a distance of ``threshold`` on.

    The distance is edits per character of the longer text, after lower case and single spaces: slips of a reader of
    writing cost little, other answers all. The mean over questions is ANLS.
    """
    mine = " ".join(answer.lower().split())
    nearest = min(_distance(mine, " ".join(one.lower().split()), threshold) for one in _some(answers))
    return 1 - nearest if nearest < threshold else 0.0


def edit_distance(one: str, two: str) -> int:
    """Levenshtein distance in characters, in O(length of two) steps on integers of as many bits as ``one`` has letters.

    Source: Myers 1999 (J. ACM 46), in the form of Hyyrö 2003 for the distance of whole strings.
    """
    if not one:
        return len(two)
    full, top = (1 << len(one)) - 1, 1 << (len(one) - 1)
    where: dict[str, int] = {}
    for place, letter in enumerate(one):
        where[letter] = where.get(letter, 0) | 1 << place
    rises, falls, distance = full, 0, len(one)
    for letter in two:
        same = where.get(letter, 0)
        diagonal = (((same & rises) + rises) ^ rises) | same | falls
        up, down = falls | ~(diagonal | rises) & full, rises & diagonal
        distance += bool(up & top) - bool(down & top)
        up, down = (up << 1 | 1) & full, (down << 1) & full
        rises, falls = down | ~(diagonal | up) & full, up & diagonal
    return distance


def _distance(one: str, two: str, threshold: float) -> float:
    """Edits per character of the longer text; 1 where the lengths alone put it beyond the threshold."""
    longer = max(len(one), len(two))
    if abs(len(one) - len(two)) >= threshold * longer:
        return 0.0 if one == two else 1.0
    return edit_distance(one, two) / longer


def _some(answers: Sequence[str]) -> Sequence[str]:
    if isinstance(answers, str) or not answers:
        raise ValueError(f"answers must be a list of at least one text, got {answers!r}")
    return answers
