"""What a judge says about answers that it was shown under letters, and what two such replies say together."""

from __future__ import annotations

import re
from collections.abc import Sequence

from potstill.pipelines.synthesizers.synthesizer import UnparsableReply

_MARKED = re.compile(
    r"\[+\s*([A-Z])\s*\]+|\*\*([A-Z])\*\*|\b(?i:answer|verdict|winner|choice)\s*(?:is)?\s*:\s*\W*([A-Z])\b"
)


def letter(reply: str, letters: str) -> str:
    """The one of ``letters`` that a judge's reply gives. Raises :class:`UnparsableReply` for any other reply.

    The reply as a whole, else the last letter in brackets, in bold, or behind "answer:", "verdict:" or the like. A bare
    letter within a sentence does not count: "A" is also an article.
    """
    whole = reply.strip(" \t\r\n.:*_`'\"()[]")
    if len(whole) == 1 and whole.upper() in letters:
        return whole.upper()
    marked = [found for match in _MARKED.finditer(reply) for found in match.groups() if found]
    if not marked or marked[-1] not in letters:
        raise UnparsableReply(f"none of the letters {', '.join(letters)} in the reply {reply!r}")
    return marked[-1]


def ranking(reply: str, count: int) -> list[int]:
    """Positions 0..count-1 from best to worst, from a reply such as ``B > A > C``; the last such line counts.

    Raises :class:`UnparsableReply` unless it names each of the first ``count`` letters once.
    """
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[:count]
    chains = re.findall(r"(?<![\w>])[A-Z]\b(?:[\s*\])]*>[\s*\[(]*[A-Z]\b)+", reply)
    named = re.findall(r"[A-Z]", chains[-1]) if chains else []
    if sorted(named) != list(letters):
        raise UnparsableReply(f"no order of all of {', '.join(letters)} in the reply {reply!r}")
    return [letters.index(each) for each in named]


def winner(first: str, second: str) -> tuple[str, bool]:
    """``a``, ``b`` or ``tie``, and whether both verdicts agree, from the letters of two replies.

    ``first`` was given with a shown as A and b as B, ``second`` with b as A and a as B; C is a tie. Verdicts that
    differ make a tie: a judge that goes by the place of an answer prefers none.
    """
    one, two = {"A": "a", "B": "b", "C": "tie"}[first], {"A": "b", "B": "a", "C": "tie"}[second]
    return (one, True) if one == two else ("tie", False)


def mean_ranks(orders: Sequence[Sequence[int]]) -> list[float]:
    """For each answer its mean place, 1 the best, over orders that each list all answers from best to worst."""
    return [sum(order.index(each) + 1 for order in orders) / len(orders) for each in range(len(orders[0]))]
