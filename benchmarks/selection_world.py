"""A small world for comparing selectors: pictures of twelve things, spoiled in known ways, and a classifier."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from potstill.models.tiny.scenes import COLOURS, CONCEPTS, EMPTY, TRAIN_STYLES, SpriteBank

WORDS = ("dog", "cat", "pig", "fox", "lion", "owl", "apple", "pear", "lemon", "tomato", "car", "bus")
CLASSES = len(WORDS)
CELL, DIM, HIDDEN, BATCH = 16, 64, 64, 64
BOOKS, WEB = "books", "web"
WRONG = {BOOKS: 0.05, WEB: 0.35}
"""Share of wrong labels in each source of the noisy pool: 20 % of all rows."""


@dataclass(frozen=True)
class Pool:
    """Pictures as vectors float32 (n, 64), the labels they are trained on (n,), and where they come from."""

    features: np.ndarray
    """What the classifier sees: 64 principal components of the pixels."""
    embedding: np.ndarray
    """What selectors see: the hidden layer of a classifier that was trained on other things."""
    labels: np.ndarray
    styles: np.ndarray
    """Drawing style, a number from 0 to 3."""
    sources: np.ndarray


class World:
    """Draws pictures of one sprite on a plain background, 16 pixels wide.

    Components and embedding come from pictures of the other 93 concepts, ``others`` of them.
    """

    def __init__(self, others: int = 6000) -> None:
        self._bank = SpriteBank(3 * CELL)
        rng = np.random.default_rng(0)
        concepts = [number for number, word in enumerate(CONCEPTS) if word not in WORDS]
        labels = np.arange(others) % len(concepts)
        pixels = self._pixels(rng, np.array(concepts)[labels])
        self._mean = pixels.mean(0)
        _, spread, axes = np.linalg.svd(pixels - self._mean, full_matrices=False)
        self._axes = axes[:DIM].T
        self._scale = spread[0] / np.sqrt(len(pixels))
        self._encoder = trained(self._vectors(pixels), labels, rng, steps=others // 4, classes=len(concepts))

    def pool(self, kind: str, rows: int, rng: np.random.Generator) -> Pool:
        """``rows`` pictures.

        - ``clean``: all different, equally many of each class and style
        - ``noisy``: the same with 20 % wrong labels, more of them in one of two sources
        - ``repeated``: a fifth as many different pictures, classes from frequent to rare, each shown once to often,
          with new grain
        - ``other``: nine in ten are drawn in other styles than ``own`` is
        - ``own``: one style
        """
        truth, styles = np.arange(rows) % CLASSES, rng.integers(len(TRAIN_STYLES), size=rows)
        at, sources = np.arange(rows), np.where(np.arange(rows) // CLASSES % 2, WEB, BOOKS)
        if kind == "repeated":
            shares = 1 / np.arange(1, CLASSES + 1)
            truth, styles = rng.choice(CLASSES, rows // 5, p=shares / shares.sum()), styles[: rows // 5]
            often = (1 + rng.permutation(len(truth))) ** -0.7
            again = rng.choice(len(truth), rows - len(truth), p=often / often.sum())
            at = np.concatenate([np.arange(len(truth)), again])
        if kind in ("other", "own"):
            styles = np.where(rng.uniform(size=rows) < (0.1 if kind == "other" else 1), 0, 1 + styles % 3)
        pixels = self._pixels(rng, np.array([CONCEPTS.index(word) for word in WORDS])[truth], styles)[at]
        pixels += rng.normal(0, 5, pixels.shape) * (np.arange(rows) >= len(truth))[:, None]
        labels = truth[at]
        if kind == "noisy":
            wrong = rng.uniform(size=rows) < np.array([WRONG[source] for source in sources])
            labels = np.where(wrong, (labels + rng.integers(1, CLASSES, rows)) % CLASSES, labels)
        features = self._vectors(pixels)
        return Pool(features, self._encoder.hidden(features), labels, styles[at], sources)

    def _pixels(self, rng: np.random.Generator, concepts: np.ndarray, styles: np.ndarray | None = None) -> np.ndarray:
        cells = np.full((len(concepts), 9), EMPTY)
        cells[:, 4] = concepts
        if styles is None:
            styles = rng.integers(len(TRAIN_STYLES), size=len(concepts))
        colours = rng.integers(len(COLOURS), size=len(concepts))
        pictures = self._bank.render_cells(cells, colours, np.repeat(styles[:, None], 9, axis=1), rng)
        return pictures[:, CELL : 2 * CELL, CELL : 2 * CELL].reshape(len(concepts), -1).astype(np.float32)

    def _vectors(self, pixels: np.ndarray) -> np.ndarray:
        return ((pixels - self._mean) @ self._axes / self._scale).astype(np.float32)


class Classifier:
    """Two layers, 64 hidden units, softmax; Adam."""

    def __init__(self, rng: np.random.Generator, classes: int = CLASSES) -> None:
        self._weights = [
            (rng.normal(size=shape) * np.sqrt(2 / shape[0])).astype(np.float32)
            for shape in ((DIM, HIDDEN), (HIDDEN, classes))
        ]
        self._weights += [np.zeros(HIDDEN, np.float32), np.zeros(classes, np.float32)]
        self._moments = [(np.zeros_like(weight), np.zeros_like(weight)) for weight in self._weights]
        self._steps = 0

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Outputs (n, classes)."""
        return self.hidden(features) @ self._weights[1] + self._weights[3]

    def accuracy(self, pool: Pool) -> float:
        """Share of right answers, in per cent."""
        return 100 * float((self.logits(pool.features).argmax(1) == pool.labels).mean())

    def step(self, features: np.ndarray, labels: np.ndarray, rate: float = 3e-3) -> None:
        """One step on a batch: cross-entropy."""
        hidden = self.hidden(features)
        outputs = hidden @ self._weights[1] + self._weights[3]
        error = np.exp(outputs - outputs.max(1, keepdims=True))
        error /= error.sum(1, keepdims=True)
        error[np.arange(len(labels)), labels] -= 1
        error /= len(labels)
        back = (error @ self._weights[1].T) * (hidden > 0)
        self._steps += 1
        for number, slope in enumerate((features.T @ back, hidden.T @ error, back.sum(0), error.sum(0))):
            first, second = self._moments[number]
            first += 0.1 * (slope - first)
            second += 0.001 * (slope**2 - second)
            fair = np.sqrt(second / (1 - 0.999**self._steps)) + 1e-8
            self._weights[number] -= rate * first / (1 - 0.9**self._steps) / fair

    def hidden(self, features: np.ndarray) -> np.ndarray:
        """The hidden layer (n, 64)."""
        return np.maximum(features @ self._weights[0] + self._weights[2], 0)


def batches(rows: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Batches of 64 positions out of one shuffled pass after another, without end."""
    left = np.zeros(0, np.int64)
    while True:
        while len(left) < BATCH:
            left = np.concatenate([left, rng.permutation(rows)])
        yield left[:BATCH]
        left = left[BATCH:]


def trained(
    features: np.ndarray, labels: np.ndarray, rng: np.random.Generator, steps: int, classes: int = CLASSES
) -> Classifier:
    """A classifier after ``steps`` batches."""
    model, turns = Classifier(rng, classes), batches(len(labels), rng)
    for _ in range(steps):
        at = next(turns)
        model.step(features[at], labels[at])
    return model
