"""Every kind of loss that a recipe may name."""

from typing import Annotated

from pydantic import Field

from potstill.models.losses.cross_entropy import CrossEntropy
from potstill.models.losses.kd import Kd

AnyLoss = Annotated[
    CrossEntropy
    | Kd,
    Field(discriminator="kind"),
]  # fmt: skip
"""A loss of a recipe."""
