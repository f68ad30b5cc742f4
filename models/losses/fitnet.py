"""FitNet: the teacher's hints through a regressor (Romero et al. 2015, arXiv 1412.6550)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from potstill.models.losses.features import Between
from potstill.models.losses.loss import Batch, Weight

if TYPE_CHECKING:
    from torch import Tensor, nn


def fitnet(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean over all elements of the squared difference of activations (N, ...) of one shape, per row (N,).

    Equation 3 of the paper as a mean, which is what the default weight of 100 goes with.
    """
    return (student - teacher).square().flatten(1).mean(1)


class Fitnet(Between):
    """Squared error between the teacher's activation and a trained map of the student's.

    The map is linear for embeddings (B, D) and tokens (B, L, D), and a convolution for maps (B, C, H, W) that ends at
    the teacher's size: one student twice or half as large, or larger, so that the kernel covers the difference. Each
    rank for its own rows; over ranks it is one mean over all rows.
    """

    kind: Literal["fitnet"] = "fitnet"
    weight: Weight | dict[str, Weight] = 100.0
    norm_relu: bool = False
    """A batch normalisation and a ReLU after a convolution, as RepDistiller and mdistiller have, for activations after
    a ReLU. Its statistics are those of all rows of a rank's micro-batch.
    """

    def build(self, example: Batch) -> nn.Module:
        """The regressor between the two shapes."""
        from potstill.models.losses.modules.fitnet import Hint

        return Hint(self, example)
