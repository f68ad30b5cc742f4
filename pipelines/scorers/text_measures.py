"""Numbers about one text, pure Python.

Repetition follows Rae et al. 2021 (Gopher), arXiv 2112.11446, table A1, in the reading of RefinedWeb, arXiv 2306.01116;
but an n-gram counts only when it occurs twice, since in a caption of three words every n-gram is the most frequent one.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence

from potstill.pipelines.scorers.phrases import phrases, plain

_ALONE = re.compile("([\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f])")
_SINGLES = (0xA1, 0xAB, 0xB7, 0xBB, 0xBF, 0x60C, 0x61B, 0x61F, 0x6D4, 0x964, 0x965, 0x30FB)
_RANGES = ((0x2010, 0x205E), (0x3001, 0x3003), (0x3008, 0x301F), (0xFF01, 0xFF0F), (0xFF1A, 0xFF20), (0xFF3B, 0xFF65))
_CODES = (*_SINGLES, *(code for first, last in _RANGES for code in range(first, last + 1)))
_EDGES = string.punctuation + "".join(map(chr, _CODES))
"""Punctuation of the scripts in use, Latin to Japanese."""
_ELLIPSIS = re.compile(r"\.{3}|…")
_URL = re.compile(r"(?:https?|ftp)://[^\s/]|(?<![\w@.])www\.[\w-]+\.\w", re.IGNORECASE)
_HTML = re.compile(r"</?[a-z][a-z0-9]*(?:\s[^<>]*)?/?>|<!--|<!doctype|&(?:[a-z]{2,8}|#\d{2,6}|#x[0-9a-f]{2,5});", re.I)
_CONTROL = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufffd\ufffe\uffff\u202a-\u202e\u2066-\u2069]|[\U000e0000-\U000e007f]{8}"
)


def words(text: str) -> list[str]:
    """Lower-case words: what stands between spaces, without punctuation at its ends, with a letter or digit in it.

    Chinese characters and kana stand alone, as these scripts have no spaces; Thai, Lao and Khmer phrases stay whole.
    """
    tokens = (token.strip(_EDGES) for token in _ALONE.sub(r" \1 ", text.lower()).split())
    return [token for token in tokens if any(map(str.isalnum, token))]


def measures(text: str) -> dict[str, float | int | bool | None]:
    """The numbers of a text by noun. Of an empty text the counts are 0, the flags false and the shares ``None``."""
    tokens = words(text)
    kinds = Counter(map(unicodedata.category, text))
    group = Counter()
    for kind, count in kinds.items():
        group[kind[0]] += count
    seen = len(text) - sum(map(str.isspace, text))
    cased = kinds["Lu"] + kinds["Lt"] + kinds["Ll"]
    shares = {
        "mean_word_length": sum(map(len, tokens)) / max(1, len(tokens)),
        "word_repetition": 1 - len(set(tokens)) / len(tokens) if tokens else 0.0,
        **{f"top_{n}gram": top_ngram(tokens, n) for n in (2, 3, 4)},
        "line_repetition": line_repetition(text),
        "alphabet_share": (group["L"] + group["M"]) / max(1, seen),
        "digit_share": group["N"] / max(1, seen),
        "special_share": (seen - group["L"] - group["M"] - group["N"]) / max(1, seen),
        "uppercase_share": (kinds["Lu"] + kinds["Lt"]) / max(1, cased),
        "symbol_ratio": max(text.count("#"), len(_ELLIPSIS.findall(text))) / max(1, len(tokens)),
    }
    folded = plain(text)
    return {
        "characters": len(text),
        "words": len(tokens),
        "longest_line": max(map(len, text.splitlines()), default=0),
        **(shares if seen else dict.fromkeys(shares)),
        "url": bool(_URL.search(text)),
        "html": bool(_HTML.search(text)),
        "control": bool(_CONTROL.search(text)),
        "refusal": bool(phrases("refusals").search(folded)),
        "injection": bool(phrases("injections").search(folded)),
    }


def top_ngram(tokens: Sequence[str], n: int) -> float:
    """Share of the words' characters inside the most frequent run of ``n`` words; 0 when no run occurs twice.

    Where occurrences overlap, a character counts once; of equally frequent runs, the one that covers most counts.
    """
    starts: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for start in range(len(tokens) - n + 1):
        starts[tuple(tokens[start : start + n])].append(start)
    most = max(map(len, starts.values()), default=0)
    if most < 2:
        return 0.0
    covered = (
        {start + step for start in places for step in range(n)} for places in starts.values() if len(places) == most
    )
    return max(sum(len(tokens[place]) for place in places) for places in covered) / sum(map(len, tokens))


def line_repetition(text: str) -> float:
    """Share of the lines that are not blank and occurred before."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return 1 - len(set(lines)) / len(lines) if lines else 0.0
