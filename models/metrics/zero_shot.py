"""Zero-shot classification: classes as the mean direction of several texts about each.

Source: Radford et al. 2021, arXiv 2103.00020, section 3.1.4 (prompt ensembles in embedding space).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

TEMPLATES = (
    "itap of a {}.",
    "a bad photo of the {}.",
    "a origami {}.",
    "a photo of the large {}.",
    "a {} in a video game.",
    "art of the {}.",
    "a photo of the small {}.",
)
"""The seven of CLIP's eighty templates that its authors found to do as well as all."""


def prompts(classes: Sequence[str], templates: Sequence[str] = TEMPLATES) -> list[str]:
    """Every class in every template, class by class. Raises ``ValueError`` for a template without ``{}``, or none."""
    bad = [template for template in templates if "{}" not in template]
    if bad or not templates:
        raise ValueError(f"template {bad[0]!r} has no {{}} for the class" if bad else "there is no template; give one")
    return [template.replace("{}", name) for name in classes for template in templates]


def class_vectors(
    encode: Callable[[list[str]], np.ndarray], classes: Sequence[str], templates: Sequence[str] = TEMPLATES
) -> np.ndarray:
    """Unit rows (classes, d), float32: of each class the unit vector along the mean of its texts' unit vectors.

    ``encode`` takes texts and returns rows (n, d) of any length. A picture's scores are its row times the transpose.
    """
    rows = _unit(np.asarray(encode(prompts(classes, templates)), dtype=np.float64))
    return _unit(rows.reshape(len(classes), len(templates), rows.shape[-1]).mean(axis=1)).astype(np.float32)


def _unit(rows: np.ndarray) -> np.ndarray:
    """Rows of length 1; a zero row stays zero."""
    lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
