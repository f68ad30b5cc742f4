"""The signals that CLIP-KD recommends together (Yang et al. 2024, arXiv 2307.12732)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from potstill.models.losses.loss import Batch, Weight
from potstill.models.losses.pairs import Pairs

if TYPE_CHECKING:
    from torch import Tensor, nn


def feature_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference over the D numbers of unit embeddings (n, D), per row (n,)."""
    return (student - teacher).square().mean(-1)


class ClipKd(Pairs):
    """CLIP-KD's recommended terms, each the mean over rows; the contrastive loss beside them is `info_nce`.

    `ckd`: KL(teacher || student) of similarities, half for each direction, as `clip_affinity`. `icl`: the student's
    pictures find the teacher's texts and the other way round, with a factor of their own that is learnt from 1 / 0.07.
    `fd`: squared distance of embeddings; it is about 1 / D, hence its weight. Where widths differ, `icl` and `fd` see
    the student through linear maps that are learnt too.
    """

    kind: Literal["clip_kd"] = "clip_kd"
    weight: Weight | dict[str, Weight] = Field({"ckd": 1.0, "icl": 1.0, "fd": 2000.0})
    published_scale: bool = False
    """As the published code has it: the learnt number is log(1 / 0.07) = 2.66 at first and the factor itself, because
    an exp is missing there. The paper's numbers come from this."""

    parts: ClassVar[tuple[str, ...]] = ("ckd", "icl", "fd")

    def needs(self) -> frozenset[str]:
        """Two embeddings (B, D) of student and one teacher, of any width, and their factors."""
        return self.paths("student", "teacher", scaled=True)

    def build(self, example: Batch) -> nn.Module:
        """The maps to the teacher's width and the factor of `icl`."""
        from potstill.models.losses.modules.clip_kd import WithHeads

        return WithHeads(self, example)
