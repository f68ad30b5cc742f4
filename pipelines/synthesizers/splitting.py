"""A text cut into paragraphs or sentences; put together again, the pieces are the text, letter for letter."""

from __future__ import annotations

import re
from typing import Literal

By = Literal["sentence", "paragraph"]
_CLOSING = "[\"'”\u2019»)\\]*」』\uff09]*"
_FULL = "[。\uff01\uff1f]"
_ENDS = {
    "paragraph": re.compile(r"\s*\n\s*"),
    "sentence": re.compile(rf"[.!?…]+{_CLOSING}(?:\s+|$)|{_FULL}+{_CLOSING}\s*|\s*\n\s*"),
}
_SHORT = re.compile(r"(?:^|[\s(])(?:\w|mr|mrs|ms|dr|st|vs|approx|fig|e\.g|i\.e)\.\s*$", re.IGNORECASE)


def pieces(text: str, by: By) -> list[str]:
    """The paragraphs (a line end divides) or sentences of ``text``, each with the space behind it.

    A full stop ends no sentence before a small letter, nor behind a single letter or digit and some abbreviations. A
    piece without letters and digits goes to the one before it. No text, no pieces.

    >>> pieces("A dog. It sits on a mat, e.g. here!", "sentence")
    ['A dog. ', 'It sits on a mat, e.g. here!']
    """
    found: list[str] = []
    start = 0
    for end in [match.end() for match in _ENDS[by].finditer(text)] + [len(text)]:
        piece = text[start:end]
        inside = by == "sentence" and "\n" not in piece[len(piece.rstrip()) :] and end < len(text)
        if not piece or (inside and (text[end].islower() or _SHORT.search(piece))):
            continue
        if found and not any(map(str.isalnum, piece)):
            found[-1] += piece
        else:
            found.append(piece)
        start = end
    return found
