"""Matching a judge's scores of candidates (UniME-V2, Gu et al. 2025, arXiv 2510.13515)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from potstill.models.losses.loss import Batch, Loss
from potstill.models.losses.numerics import kl_of_logs, log_probs, unit

if TYPE_CHECKING:
    from torch import Tensor


def score_matching(similarity: Tensor, scores: Tensor, *, temperature: float = 0.02) -> Tensor:
    """(KL(P || Q) + KL(Q || P)) / 2 in nats over k candidates, per row (n,): both (n, k) by softmax at a temperature.

    P is of the student's cosines, Q of the judge's scores (from 0 to 1: its probability of Yes).
    A score of -inf is no candidate; each row must have one. No T^2, as published.
    """
    scores = scores.detach()
    similarity = similarity.masked_fill(scores == float("-inf"), float("-inf"))
    student, judge = log_probs(similarity, temperature), log_probs(scores, temperature)
    return (kl_of_logs(student, judge) + kl_of_logs(judge, student)) / 2


class ScoreMatching(Loss):
    """The student's similarities of a query to its own candidates follow a judge's scores of them.

    The judge is the teacher: its `logits` (B, k) are the scores of row i's candidates, the first that of the row's
    pair. The student's embeddings of the same candidates are the feature `candidates` (B, k, D), the query's (B, D)
    one of its embeddings. Where a row has fewer than k, its scores are -inf.
    """

    kind: Literal["score_matching"] = "score_matching"
    temperature: float = Field(0.02, gt=0)
    query: Literal["image", "text"] = "image"
    candidates: str = "candidates"
    """Name of the student's feature with the candidates."""

    def needs(self) -> frozenset[str]:
        """Query (B, D), candidates (B, k, D), scores (B, k)."""
        return frozenset({f"student.{self.query}", f"student.features.{self.candidates}", "teacher.logits"})

    def terms(self, batch: Batch) -> Mapping[str, Tensor]:
        """Sum over rows."""
        valid = self.valid(batch.labels)
        query = getattr(batch.student, self.query)[valid]
        candidates, scores = batch.student.features[self.candidates][valid], batch.teacher.logits[valid]
        if candidates.shape[:2] != scores.shape:
            have, want = tuple(candidates.shape), tuple(scores.shape)
            raise ValueError(f"{self.title}: candidates {have} and scores {want} must agree in rows and candidates")
        similarity = (unit(candidates) @ unit(query)[..., None])[..., 0]
        return {"": self.total(score_matching(similarity, scores, temperature=self.temperature), batch.labels)}
