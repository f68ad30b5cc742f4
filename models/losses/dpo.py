"""Direct preference optimisation: an answer that was chosen becomes likelier than the one rejected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from potstill.models.losses.loss import Batch
from potstill.models.losses.preferences import Preference

if TYPE_CHECKING:
    from torch import Tensor


def dpo(chosen: Tensor, rejected: Tensor, *, beta: float = 0.1, label_smoothing: float = 0.0) -> Tensor:
    """-log sigmoid(beta (chosen - rejected)) in nats, per pair (P,), of logs of student over reference (P,).

    Rafailov et al. 2023, arXiv 2305.18290, equation 7. ``label_smoothing`` is the share of pairs that are the wrong way
    round (conservative DPO, Mitchell 2023). Equal to the reference: log 2.
    """
    from torch.nn.functional import logsigmoid

    ahead = beta * (chosen - rejected)
    return -(1 - label_smoothing) * logsigmoid(ahead) - label_smoothing * logsigmoid(-ahead)


class Dpo(Preference):
    """DPO per pair; with the larger model as the reference it is the preference loss of LLaVA-MoD's paper."""

    kind: Literal["dpo"] = "dpo"
    label_smoothing: float = Field(0.0, ge=0, lt=0.5)

    def terms(self, batch: Batch) -> Mapping[str, Tensor]:
        """Sum over pairs."""
        chosen, rejected = self.ratios(batch)
        values = dpo(chosen, rejected, beta=self.beta, label_smoothing=self.label_smoothing)
        return {"": (values * self.pair_weights(batch.labels).to(values)).sum()}
