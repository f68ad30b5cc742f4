"""The instruction in an extractor's reply."""

from __future__ import annotations

import re

from potstill.pipelines.synthesizers.synthesizer import Reject, UnparsableReply

NO_INSTRUCTION = "NO_INST"
"""What the extractor replies when it finds no instruction."""


def extracted(reply: str, hooked: str, *, complete: bool, whole: bool, verbatim: bool) -> str | Reject:
    """The instruction that an extractor's ``reply`` copies from the ``hooked`` text, or why there is none.

    ``complete`` and ``whole``: reply and hooked text ended by themselves, not by the token limit; an instruction that
    is cut off either way is rejected. Raises :class:`UnparsableReply` for a reply without a letter or digit.
    """
    text = reply.strip().removeprefix("```").removesuffix("```").strip().strip("\"'`“”«»").strip()
    if not _letters(text):
        raise UnparsableReply(f"neither an instruction nor {NO_INSTRUCTION} in {reply!r}")
    if NO_INSTRUCTION in text:
        return Reject("no_instruction")
    if not complete or (not whole and _letters(hooked).endswith(_letters(text))):
        return Reject("truncated_instruction")
    return text if not verbatim or _letters(text) in _letters(hooked) else Reject("not_verbatim")


def _letters(text: str) -> str:
    return "".join(re.findall(r"\w", text.casefold()))
