"""Texts longer than a CLIP model reads, in pieces that it reads whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from potstill.models.clip import Clip

Windows = Literal["first", "mean", "max"]


def pieces(texts: Sequence[str], cut_off: Callable[[Sequence[str]], Sequence[bool]]) -> dict[str, list[str]]:
    """Each text as the pieces that fit, halved between words as often as needed; a single word is left as it is.

    ``cut_off`` says of each text whether the model would read a part of it only.
    """
    found: dict[str, list[str]] = {text: [text] for text in texts}
    while True:
        parts = sorted({part for each in found.values() for part in each if len(part.split()) > 1})
        long = {part for part, cut in zip(parts, cut_off(parts), strict=True) if cut}
        if not long:
            return found
        found = {
            text: [half for part in each for half in (halves(part) if part in long else [part])]
            for text, each in found.items()
        }


def halves(text: str) -> list[str]:
    """The first half of a text's words, and the second."""
    words = text.split()
    return [" ".join(words[: len(words) // 2]), " ".join(words[len(words) // 2 :])]


def joined(rows: np.ndarray, image: np.ndarray | None, windows: Windows) -> np.ndarray:
    """One unit row (d,) for the pieces' unit rows (n, d): their mean, or the one that is nearest to the image's."""
    if len(rows) == 1:
        return rows[0]
    if windows == "max" and image is not None:
        return rows[int(np.argmax(rows @ image))]
    mean = rows.mean(0)
    length = np.linalg.norm(mean)
    return mean / length if length > 0 else mean


def embed_texts(
    clip: Clip, texts: Sequence[str], images: Sequence[np.ndarray | None], windows: Windows, batch_size: int
) -> list[np.ndarray | None]:
    """Per row, the unit row of its text (None for no text); equal texts are encoded once."""
    unique = sorted({text for text in texts if text})
    parts = {text: [text] for text in unique} if windows == "first" else pieces(unique, clip.truncated)
    every = sorted({part for each in parts.values() for part in each})
    rows = dict(zip(every, clip.encode_texts(every, batch_size), strict=True))
    return [
        joined(np.stack([rows[part] for part in parts[text]]), image, windows) if text else None
        for text, image in zip(texts, images, strict=True)
    ]
