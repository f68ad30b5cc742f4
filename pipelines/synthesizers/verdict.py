"""The score in a judge's reply."""

from __future__ import annotations

import re

from potstill.pipelines.synthesizers.synthesizer import UnparsableReply

_OUT_OF = re.compile(r"(?<=\d)\s*(?:/|out of)\s*5\b")
_NUMBER = r"([-+]?\d+(?:\.\d+)?)"
_PATTERNS = (
    re.compile(rf"[\[(]\s*{_NUMBER}\s*[\])]"),
    re.compile(rf"score\W{{0,6}}?{_NUMBER}", re.IGNORECASE),
    re.compile(_NUMBER),
)


def verdict(reply: str, *, complete: bool = True) -> int:
    """The score 1..5 that a judge's ``reply`` gives. Raises :class:`UnparsableReply` for any other.

    The last number in brackets counts, else the last one after the word "score", else the last number: the rule of the
    official Oasis code (Zhang et al. 2025, arXiv 2503.08741), with the middle case added for the form that our prompts
    ask for. ``4/5`` and ``4 out of 5`` read as 4. A reply cut off by the token limit (``complete`` false) may end
    before its verdict, so that its last bare number is not taken for one.
    """
    text = _OUT_OF.sub("", reply)
    numbers = next((found for pattern in _PATTERNS[: 3 if complete else 2] if (found := pattern.findall(text))), ())
    if not numbers or not re.fullmatch(r"\+?[1-5]", numbers[-1]):
        raise UnparsableReply(f"no score from 1 to 5 in the {'' if complete else 'cut-off '}reply {reply!r}")
    return int(numbers[-1])
