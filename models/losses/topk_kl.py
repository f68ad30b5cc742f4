"""Distillation from a teacher of whom only the best classes of each token were cached."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

from potstill.models.losses.chunked import check_vocabulary, summed
from potstill.models.losses.logits import TopK
from potstill.models.losses.loss import Batch, Loss
from potstill.models.losses.numerics import kl_of_logs, log_probs, wide

if TYPE_CHECKING:
    from torch import Tensor

Tail = Literal["bucket", "renormalise", "smear"]


def topk_kl(student: Tensor, teacher: TopK, *, tail: Tail = "bucket") -> Tensor:
    """Forward KL in nats of logits (N, V) from the teacher's best k, at the teacher's temperature, per row (N,).

    What the teacher gives to all other classes is, by ``tail``: one more outcome (`bucket`: at most the full
    divergence); nothing, the k being scaled up (`renormalise`: sharper); or spread evenly (`smear`: Shen & Xing 2022,
    FKD, arXiv 2112.01528). Not times the temperature squared.
    """
    import torch

    first, logs = wide(teacher.logp), log_probs(student, teacher.temperature)
    unused = first == float("-inf")
    idx = torch.where(unused, teacher.idx[:, :1], teacher.idx).long()
    own = logs.gather(-1, idx)
    if tail == "renormalise":
        return kl_of_logs(own, first.log_softmax(-1))
    rest = 1 - first.exp().sum(-1)
    if tail == "bucket":
        # The rest summed by itself: log(1 - sum of the best) has no digits left when they hold nearly all.
        other = logs.scatter(-1, idx, torch.finfo(logs.dtype).min).logsumexp(-1, keepdim=True)
        return kl_of_logs(torch.cat([own, other], -1), torch.cat([first, rest.clamp(min=0).log()[:, None]], -1))
    size = teacher.classes - (~unused).sum(-1)
    each = rest.clamp(min=0) / size
    outside = logs.sum(-1) - own.masked_fill(unused, 0).sum(-1)
    return kl_of_logs(own, first) + torch.xlogy(each, each) * size - each * outside


class TopkKl(Loss):
    """Forward KL from a teacher's cached best classes; logs how much they hold (below 0.95, mind `tail`)."""

    kind: Literal["topk_kl"] = "topk_kl"
    tail: Tail = "bucket"

    per: ClassVar = "token"
    logged: ClassVar = ("topk_mass",)

    def needs(self) -> frozenset[str]:
        """Logits of the student, best classes of the teacher; words (B, L) unless a mask says which tokens."""
        return frozenset({"student.logits", "teacher.logits"} | ({"target"} if self.mask is None else set()))

    def terms(self, batch: Batch) -> Mapping[str, Tensor]:
        """Sum over tokens."""
        student, teacher, labels = batch.student.logits, batch.teacher.logits.detach(), batch.labels
        if not isinstance(teacher, TopK):
            raise ValueError(f"{self.title}: the teacher gives full logits, which are for token_kl")
        check_vocabulary(self.title, student, teacher)
        valid = self.valid(labels)
        held = self.total(wide(teacher.logp[valid]).exp().sum(-1), labels, valid)
        return {"": summed(self, labels, partial(topk_kl, tail=self.tail), student, teacher), "topk_mass": held}
