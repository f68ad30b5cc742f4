"""Every kind of loss that a recipe may name."""

from typing import Annotated

from pydantic import Field

from potstill.models.losses.albef import Albef
from potstill.models.losses.attention_transfer import AttentionTransfer
from potstill.models.losses.barlow_twins import BarlowTwins
from potstill.models.losses.clip_affinity import ClipAffinity
from potstill.models.losses.clip_kd import ClipKd
from potstill.models.losses.crd import Crd
from potstill.models.losses.cross_entropy import CrossEntropy
from potstill.models.losses.dcl import Dcl
from potstill.models.losses.dho import Dho
from potstill.models.losses.dist import Dist
from potstill.models.losses.dkd import Dkd
from potstill.models.losses.dpo import Dpo
from potstill.models.losses.ensemble import Ensemble
from potstill.models.losses.fitnet import Fitnet
from potstill.models.losses.gram_relation import GramRelation
from potstill.models.losses.info_nce import InfoNce
from potstill.models.losses.kd import Kd
from potstill.models.losses.llava_kd import LlavaKd
from potstill.models.losses.llava_mod_preference import LlavaModPreference
from potstill.models.losses.matryoshka import Matryoshka
from potstill.models.losses.mlkd import Mlkd
from potstill.models.losses.multi_aspect_bce import MultiAspectBce
from potstill.models.losses.nt_xent import NtXent
from potstill.models.losses.pkt import Pkt
from potstill.models.losses.review_kd import ReviewKd
from potstill.models.losses.rkd import Rkd
from potstill.models.losses.score_matching import ScoreMatching
from potstill.models.losses.siglip import SigLip
from potstill.models.losses.similarity_preserving import SimilarityPreserving
from potstill.models.losses.token_kl import TokenKl
from potstill.models.losses.topk_kl import TopkKl
from potstill.models.losses.vicreg import Vicreg

AnyLoss = Annotated[
    Albef
    | AttentionTransfer
    | BarlowTwins
    | ClipAffinity
    | ClipKd
    | Crd
    | CrossEntropy
    | Dcl
    | Dho
    | Dist
    | Dkd
    | Dpo
    | Ensemble
    | Fitnet
    | GramRelation
    | InfoNce
    | Kd
    | LlavaKd
    | LlavaModPreference
    | Matryoshka
    | Mlkd
    | MultiAspectBce
    | NtXent
    | Pkt
    | ReviewKd
    | Rkd
    | ScoreMatching
    | SigLip
    | SimilarityPreserving
    | TokenKl
    | TopkKl
    | Vicreg,
    Field(discriminator="kind"),
]  # fmt: skip
"""A loss of a recipe."""

Matryoshka.model_rebuild(_types_namespace={"AnyLoss": AnyLoss})
