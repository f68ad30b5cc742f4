"""Every kind of loss that a recipe may name."""

from typing import Annotated

from pydantic import Field

from potstill.models.losses.cross_entropy import CrossEntropy
from potstill.models.losses.dho import Dho
from potstill.models.losses.dist import Dist
from potstill.models.losses.dkd import Dkd
from potstill.models.losses.ensemble import Ensemble
from potstill.models.losses.kd import Kd
from potstill.models.losses.mlkd import Mlkd
from potstill.models.losses.multi_aspect_bce import MultiAspectBce

AnyLoss = Annotated[
    CrossEntropy
    | Dho
    | Dist
    | Dkd
    | Ensemble
    | Kd
    | Mlkd
    | MultiAspectBce,
    Field(discriminator="kind"),
]  # fmt: skip
"""A loss of a recipe."""
