"""One loss at several widths."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from torch import Tensor, nn

from potstill.models.losses.logits import Hidden
from potstill.models.losses.loss import Batch, Output
from potstill.models.losses.numerics import unit

if TYPE_CHECKING:
    from potstill.models.losses.matryoshka import Matryoshka


class Nested(nn.Module):
    """The inner loss, with its own weights if it has any, for each width."""

    def __init__(self, loss: Matryoshka, example: Batch) -> None:
        super().__init__()
        self.loss = loss
        self.inner = nn.ModuleList(loss.inner.build(self._cut(example, width)) for width in loss.widths)

    def forward(self, batch: Batch) -> Mapping[str, Tensor]:
        """The inner loss's terms at each width."""
        terms = [
            term
            for w, one in zip(self.loss.widths, self.inner, strict=True)
            for term in one(self._cut(batch, w)).values()
        ]
        return dict(zip(self.loss.parts, terms, strict=True))

    def _cut(self, batch: Batch, width: int) -> Batch:
        """The batch, where what the inner loss needs has this width."""
        needs = sorted(need.split(".", 1) for need in self.loss.needs() if "." in need)
        batch = replace(batch, student=cut(batch.student, width, [name for owner, name in needs if owner == "student"]))
        if not self.loss.cut_teacher:
            return batch
        names = [name for owner, name in needs if owner == "teacher"]
        return replace(batch, teachers=tuple(cut(teacher, width, names) for teacher in batch.teachers))


def cut(output: Output, width: int, names: Iterable[str]) -> Output:
    """What a model says, with the first dimensions of `image`, `text`, `logits` and `features.X` among ``names`` alone.

    Raises ValueError for what cannot be cut, and for a width that is not there.
    """
    for name in names:
        if name == "logits":
            output = replace(output, logits=head(output.logits, width))
        elif name.startswith("features."):
            feature = name.removeprefix("features.")
            output = replace(
                output, features={**output.features, feature: first(output.features[feature], width, name)}
            )
        elif name in ("image", "text"):
            output = replace(output, **{name: first(getattr(output, name), width, name)})
    return output


def first(x: Tensor, width: int, name: str) -> Tensor:
    """The first dimensions of embeddings (B, D), of length 1."""
    if x.ndim != 2 or width > x.shape[1]:
        raise ValueError(f"matryoshka takes the first {width} of D dimensions of (B, D); {name} is {tuple(x.shape)}")
    return unit(x[:, :width])


def head(logits: Tensor | Hidden, width: int) -> Tensor | Hidden:
    """Logits from the first dimensions of the head's inputs; those of tokens stay a head that is yet to be applied."""
    if not isinstance(logits, Hidden):
        raise ValueError(
            f"matryoshka cuts a head that is yet to be applied (Hidden), and the student gives logits "
            f"{tuple(logits.shape)}: let the model give its head, or take an inner loss on embeddings"
        )
    if width > logits.h.shape[-1]:
        raise ValueError(f"matryoshka takes the first {width} dimensions of a head that has {logits.h.shape[-1]}")
    narrow = Hidden(logits.h[..., :width], logits.weight[:, :width], logits.bias)
    return narrow.dense() if narrow.h.ndim == 2 else narrow
