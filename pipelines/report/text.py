"""Text that others wrote, made harmless and short for a page or a terminal."""

from __future__ import annotations

import unicodedata

_KEPT = frozenset("\n\t\u200c\u200d\u200e\u200f")
"""Line ends, and marks that emoji and right-to-left scripts need and that cannot disturb what is around them."""


def visible(text: str) -> str:
    """``text`` with every control and bidirectional override character shown instead of obeyed.

    >>> visible("a\\x00b\\u202ec")
    'a␀b[U+202E]c'
    """
    return "".join(character if _harmless(character) else _picture(ord(character)) for character in text)


def _harmless(character: str) -> bool:
    return character in _KEPT or unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Zl", "Zp"}


def _picture(code: int) -> str:
    if code < 0x20:
        return chr(0x2400 + code)
    return "\u2421" if code == 0x7F else f"[U+{code:04X}]"


def shorten(text: str, limit: int) -> str:
    """The first ``limit`` characters, with a note of how many follow."""
    return text if len(text) <= limit else f"{text[:limit].rstrip()}… ({len(text) - limit:,} more characters)"


def one_line(text: str, limit: int) -> str:
    """:func:`visible` and :func:`shorten`, on one line: for terminals and table cells."""
    return shorten(visible(" ".join(text.split())), limit)


def duration(seconds: float) -> str:
    """Seconds as a reader says them.

    >>> duration(3725)
    '1 h 2 min'
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = int(seconds // 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {int(seconds % 60)} s"
