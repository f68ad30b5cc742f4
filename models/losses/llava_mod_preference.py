"""LLaVA-MoD's preference distillation, as it was released: the teacher is the reference, answers count one by one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from potstill.models.losses.loss import Batch
from potstill.models.losses.preferences import Preference

if TYPE_CHECKING:
    from torch import Tensor


def kto_pair(chosen: Tensor, rejected: Tensor, *, beta: float = 0.1) -> Tensor:
    """2 - sigmoid(beta (chosen - r)) - sigmoid(beta (c - rejected)), per pair (P,), halved; in (0, 1), no nats.

    ``chosen`` and ``rejected`` are logs of student over reference (P,), c and r their means over the pairs, at least 0,
    through which the gradient goes too (Ethayarajh et al. 2024, arXiv 2402.01306, equation 7, for even pairs).
    """
    c, r = chosen.mean().clamp(min=0), rejected.mean().clamp(min=0)
    return 1 - ((beta * (chosen - r)).sigmoid() + (beta * (c - rejected)).sigmoid()) / 2


class LlavaModPreference(Preference):
    """Preference distillation (Shu et al. 2024, arXiv 2408.15881, section 3.3); the paper's own equation is `dpo`.

    The means of the reference run over the pairs of a micro-batch, so more rows in it say more.
    """

    kind: Literal["llava_mod_preference"] = "llava_mod_preference"

    def terms(self, batch: Batch) -> Mapping[str, Tensor]:
        """Sum over pairs."""
        pairs = self.pairs(batch.labels)
        chosen, rejected = (ratios[pairs] for ratios in self.ratios(batch))
        if not len(chosen):
            return {"": (chosen + rejected).sum()}
        weights = self.pair_weights(batch.labels)[pairs].to(chosen)
        return {"": (kto_pair(chosen, rejected, beta=self.beta) * weights).sum()}
