"""Every source, stage and sink that a plan may name. Adding a unit adds it here."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from potstill.pipelines.filters.filter import Filter
from potstill.pipelines.scorers.clip_score import ClipScore
from potstill.pipelines.scorers.concepts import Concepts
from potstill.pipelines.scorers.difference_areas import DifferenceAreas
from potstill.pipelines.scorers.embedding_head import EmbeddingHead
from potstill.pipelines.scorers.image_stats import ImageStats
from potstill.pipelines.scorers.language import Language
from potstill.pipelines.scorers.masked_clip_score import MaskedClipScore
from potstill.pipelines.scorers.norm_sim import NormSim
from potstill.pipelines.scorers.nsfw import Nsfw
from potstill.pipelines.scorers.perplexity import Perplexity
from potstill.pipelines.scorers.phash import PerceptualHash
from potstill.pipelines.scorers.pixel_hash import PixelHash
from potstill.pipelines.scorers.teacher_classes import TeacherClasses
from potstill.pipelines.scorers.teacher_clip import TeacherClip
from potstill.pipelines.scorers.teacher_tokens import TeacherTokens
from potstill.pipelines.scorers.text_area import TextArea
from potstill.pipelines.scorers.text_stats import TextStats
from potstill.pipelines.scorers.toxicity import Toxicity
from potstill.pipelines.selectors.balanced import Balanced
from potstill.pipelines.selectors.capability_budget import CapabilityBudget
from potstill.pipelines.selectors.ccs import CCS
from potstill.pipelines.selectors.concept_clusters import ConceptClusters
from potstill.pipelines.selectors.d4 import D4
from potstill.pipelines.selectors.decontaminate import Decontaminate
from potstill.pipelines.selectors.difficulty import Difficulty
from potstill.pipelines.selectors.facility_location import FacilityLocation
from potstill.pipelines.selectors.filter_network import FilterNetwork
from potstill.pipelines.selectors.group_rows import GroupRows
from potstill.pipelines.selectors.hard_negatives import HardNegatives
from potstill.pipelines.selectors.herding import Herding
from potstill.pipelines.selectors.image_pairs import ImagePairs
from potstill.pipelines.selectors.k_centre import KCentre
from potstill.pipelines.selectors.label_doubts import LabelDoubts
from potstill.pipelines.selectors.mixture import Mixture
from potstill.pipelines.selectors.moderate import Moderate
from potstill.pipelines.selectors.near_duplicates import NearDuplicates
from potstill.pipelines.selectors.neg_clip_loss import NegClipLoss
from potstill.pipelines.selectors.random_subset import RandomSubset
from potstill.pipelines.selectors.rs2 import RS2
from potstill.pipelines.selectors.semantic_duplicates import SemanticDuplicates
from potstill.pipelines.selectors.set_filter import SetFilter
from potstill.pipelines.selectors.split import Split
from potstill.pipelines.selectors.target_clusters import TargetClusters
from potstill.pipelines.selectors.targeted_transport import TargetedTransport
from potstill.pipelines.selectors.unique import Unique
from potstill.pipelines.sinks.llava import Llava
from potstill.pipelines.sinks.parquet import Parquet
from potstill.pipelines.sinks.webdataset import WebDatasetTars
from potstill.pipelines.sources.folder import Folder
from potstill.pipelines.sources.jsonl import Jsonl
from potstill.pipelines.sources.parquet import ParquetFiles
from potstill.pipelines.sources.webdataset import WebDataset
from potstill.pipelines.synthesizers.answers import Answers
from potstill.pipelines.synthesizers.choose import Choose
from potstill.pipelines.synthesizers.claim_judge import ClaimJudge
from potstill.pipelines.synthesizers.metric_judge import MetricJudge
from potstill.pipelines.synthesizers.oasis import OasisInstruct, OasisJudge
from potstill.pipelines.synthesizers.pair_judge import PairJudge
from potstill.pipelines.synthesizers.preference import Preference
from potstill.pipelines.synthesizers.prompt import PromptChain
from potstill.pipelines.synthesizers.rank_judge import RankJudge
from potstill.pipelines.synthesizers.respond import Respond
from potstill.pipelines.synthesizers.scene_programs import ScenePrograms
from potstill.pipelines.synthesizers.verified_caption import VerifiedCaption

AnySource = Annotated[Folder | Jsonl | ParquetFiles | WebDataset, Field(discriminator="kind")]
AnyStage = Annotated[
    Answers | Balanced | CCS | CapabilityBudget | Choose | ClaimJudge | ClipScore | ConceptClusters | Concepts
    | D4 | Decontaminate | DifferenceAreas | Difficulty | EmbeddingHead | FacilityLocation | Filter
    | FilterNetwork | GroupRows | HardNegatives | Herding | ImagePairs | ImageStats | KCentre | LabelDoubts
    | Language | MaskedClipScore | MetricJudge | Mixture | Moderate | NearDuplicates | NegClipLoss | NormSim | Nsfw
    | OasisInstruct | OasisJudge | PairJudge | PerceptualHash | Perplexity | PixelHash | Preference
    | PromptChain | RS2 | RandomSubset | RankJudge | Respond | ScenePrograms | SemanticDuplicates | SetFilter
    | Split | TargetClusters | TargetedTransport | TeacherClasses | TeacherClip | TeacherTokens | TextArea | TextStats
    | Toxicity | Unique | VerifiedCaption,
    Field(discriminator="kind"),
]  # fmt: skip
AnySink = Annotated[Llava | Parquet | WebDatasetTars, Field(discriminator="kind")]
