"""LLaVA-KD: a small multimodal model learns a large one's words, views and relations (Cai et al. 2024)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from potstill.models.losses.gram_relation import GramRelation
from potstill.models.losses.loss import Batch, Labels, Loss, Weight
from potstill.models.losses.token_kl import Divergence, TokenKl

if TYPE_CHECKING:
    from torch import Tensor


class LlavaKd(Loss):
    """Divergence on the answer's words, the same at the picture's places, and the relation of these places.

    Weights of the paper's equation for distilled pre-training and fine-tuning (arXiv 2410.16236, section 3.3); add
    `cross_entropy`. The paper writes the forward divergence, its released tools hold several. Each term has its own
    count: answers' words, pictures' places, rows with a picture. Both models must place the picture alike.
    """

    kind: Literal["llava_kd"] = "llava_kd"
    weight: Weight | dict[str, Weight] = Field({"response": 1.0, "visual": 1.0, "relation": 0.5})
    divergence: Divergence = "forward"
    response: str = "response"
    """Mask of the answer's words."""
    vision: str = "vision"
    """Mask of the picture's places."""

    per: ClassVar = "token"
    parts: ClassVar = ("response", "visual", "relation")

    def needs(self) -> frozenset[str]:
        """Logits (B, L, V) of both."""
        return frozenset({"student.logits", "teacher.logits"})

    def losses(self) -> dict[str, Loss]:
        """The three by part."""
        return {
            "response": TokenKl(name=f"{self.title}.response", divergence=self.divergence, mask=self.response),
            "visual": TokenKl(name=f"{self.title}.visual", divergence=self.divergence, mask=self.vision),
            "relation": GramRelation(name=f"{self.title}.relation", places=self.vision),
        }

    def narrowed(self, labels: Labels) -> Labels:
        """The labels with both masks within :attr:`mask`."""
        both = {loss.mask: loss.marked(labels) for loss in self.losses().values() if loss.mask}
        inside = True if self.mask is None else self.marked(labels)
        return replace(labels, masks={name: mask & inside for name, mask in both.items()})

    def valid(self, labels: Labels) -> Tensor:
        """Words and places (B, L)."""
        masks = self.narrowed(labels).masks
        return masks[self.response] | masks[self.vision]

    def counts(self, labels: Labels) -> dict[str, float]:
        """Words, places, rows."""
        labels = self.narrowed(labels)
        return {loss.title: loss.count(labels) for loss in self.losses().values()}

    def terms(self, batch: Batch) -> Mapping[str, Tensor]:
        """Sums over words, places, rows."""
        batch = replace(batch, labels=self.narrowed(batch.labels))
        return {part: loss.terms(batch)[""] for part, loss in self.losses().items()}
