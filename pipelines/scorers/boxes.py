"""Boxes in a picture: a grid of windows, cut-outs, overlaps, and the windows in which two pictures are least alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def windows(sides: Sequence[float]) -> np.ndarray:
    """Boxes (n, 4) of a grid that covers the unit square for each side, moved by half a side."""
    boxes = []
    for side in sides:
        starts = np.linspace(0, 1 - side, max(1, round((1 - side) / (side / 2)) + 1))
        boxes += [(left, top, left + side, top + side) for top in starts for left in starts]
    return np.array(boxes, np.float32)


def cut(size: tuple[int, int], box: np.ndarray) -> tuple[int, int, int, int]:
    """A box in pixels, at least one wide and high."""
    (width, height), (left, top, right, bottom) = size, box
    x, y = min(int(left * width), width - 1), min(int(top * height), height - 1)
    return x, y, max(x + 1, round(right * width)), max(y + 1, round(bottom * height))


def least_alike(boxes: np.ndarray, cosines: np.ndarray, max_cosine: float, max_overlap: float) -> list[int]:
    """Positions of the boxes below ``max_cosine``, the least alike first, none overlapping an earlier one too much."""
    kept: list[int] = []
    for position in np.argsort(cosines, kind="stable").tolist():
        if cosines[position] > max_cosine:
            break
        if all(overlap(boxes[position], boxes[other]) <= max_overlap for other in kept):
            kept.append(position)
    return kept


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two boxes, 0 to 1."""
    inner = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None).prod()
    return float(inner / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - inner))
