"""Which choice a reply names, and what its lines are."""

from __future__ import annotations

import re
from collections.abc import Sequence

from potstill.pipelines.synthesizers.synthesizer import UnparsableReply

_BULLET = re.compile(r"^\s*(?:[-*•]+|\(?\d{1,3}[.):]|\(?[a-zA-Z][.)])\s+")
_ANSWER = re.compile(r"\b(?:answer|verdict|choice)\b\W*", re.IGNORECASE)


def choice(reply: str, choices: Sequence[str]) -> str:
    """Which of the ``choices`` a reply names, in any case.

    The reply as a whole, else the one right behind the last "answer", "verdict" or "choice", else the only one that it
    names as words of their own; where one choice is part of another ("match", "no match") the longer one is read.
    """
    longest = sorted(choices, key=len, reverse=True)
    pattern = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest))})(?!\w)", re.IGNORECASE)
    by_words = {each.casefold(): each for each in choices}
    *_, ending = _ANSWER.split(reply)
    whole = by_words.get(reply.strip(" \t\r\n.!*_`'\"“”()[]").casefold())
    behind = pattern.match(ending) if ending != reply else None
    named = {found.casefold() for found in pattern.findall(reply)}
    if whole is not None:
        return whole
    if behind is not None:
        return by_words[behind[0].casefold()]
    if len(named) == 1:
        return by_words[named.pop()]
    raise UnparsableReply(f"{len(named)} of the choices {', '.join(choices)} in {reply!r}")


def lines(reply: str, *, complete: bool = True) -> list[str]:
    """The lines of a reply without their bullets or numbers; blank lines and code fences are left out.

    The last line of a reply that the token limit cut off (``complete`` false) is not whole and is left out too.
    """
    found = reply.splitlines()
    if not complete and not reply.endswith("\n"):
        found = found[:-1]
    bare = (_BULLET.sub("", line).strip() for line in found if not line.strip().startswith("```"))
    return [line for line in bare if any(map(str.isalnum, line))]
