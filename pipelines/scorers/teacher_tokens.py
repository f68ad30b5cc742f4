"""What a model that sees says of each token of an answer, stored for distillation.

Source: top-k caches of token distributions, as LLaVA-KD and generalized distillation (Agarwal et al. 2024, arXiv
2306.13649) use them off-policy. 6 bytes for each token that is kept; float16 keeps 0.4 % of a probability at -8 nats.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from potstill.models.engines.settings import TransformersEngine
from potstill.models.trainers import stored
from potstill.pipelines import schema
from potstill.pipelines.stage import BatchFn, RowStage


class TeacherTokens(RowStage):
    """Writes ``<name>_idx`` and ``<name>_logp`` (of each target token the best ``top_k``), and ``<name>_about``.

    A row without an answer has null in all three.
    """

    kind: Literal["teacher_tokens"] = "teacher_tokens"
    batch_rows: ClassVar[int] = 64
    speed: ClassVar[Mapping[str, Any]] = {"batch_size": True}

    model: str = "tiny"
    """The teacher: ``tiny``, a folder in the transformers format, or a hub name."""
    instruction: str | None = schema.INSTRUCTION
    """Column of questions; none where the picture alone is the question."""
    response: str = schema.RESPONSE
    """Column of answers."""
    system: str | None = None
    """What the system says; the same as in the training."""
    top_k: int = Field(default=32, ge=1)
    """Tokens kept at each place."""
    temperature: float = Field(default=1.0, gt=0)
    """At which the log-probabilities are taken; a training uses the same."""
    device: str = "auto"
    """``auto``, ``cpu``, ``cuda`` or ``cuda:N``."""
    batch_size: int = Field(default=8, ge=1, le=4096)
    """Answers per forward pass."""

    def reads(self) -> tuple[str, ...]:
        """The picture, the question and the answer."""
        return (schema.IMAGE, *((self.instruction,) if self.instruction else ()), self.response)

    def writes(self) -> Mapping[str, pa.DataType | None]:
        """Lists of lists: places, and the best at each."""
        lists = {"idx": pa.list_(pa.list_(pa.int32())), "logp": pa.list_(pa.list_(pa.float16()))}
        return {f"{self.name}_{column}": kind for column, kind in (lists | {"about": pa.string()}).items()}

    def identity(self) -> Mapping[str, Any]:
        """Digest of the model."""
        return TransformersEngine(model=self.model).identity()

    def build(self) -> BatchFn:
        """Load the teacher."""
        import torch

        from potstill.models.trainers.vlm import VlmRecipe
        from potstill.models.trainers.vlm_store import TokenTeacher

        device = ("cuda" if torch.cuda.is_available() else "cpu") if self.device == "auto" else self.device
        recipe = VlmRecipe.model_validate({
            "data": {"path": "given"}, "losses": [{"kind": "cross_entropy"}], "steps": 1, "pretrained": self.model,
            "image": schema.IMAGE, "instruction": self.instruction, "response": self.response, "system": self.system,
        })  # fmt: skip
        teacher = TokenTeacher(recipe, self.top_k, self.temperature, self.batch_size, device)
        facts = teacher.identity | {"temperature": self.temperature, "system": self.system, "count": teacher.classes}
        words = stored.about(teacher=dict(self.identity()), **facts)

        def say(rows: pa.Table) -> Mapping[str, Any]:
            answered = [index for index, text in enumerate(rows[self.response].to_pylist()) if text and text.strip()]
            said = dict(zip(answered, teacher.say(rows.take(pa.array(answered, pa.int64()))), strict=True))
            good = [None if isinstance(said.get(row), Exception) else said.get(row) for row in range(rows.num_rows)]
            errors = [said[row] if isinstance(said.get(row), Exception) else None for row in range(rows.num_rows)]
            values = {
                "idx": [best and best[0].tolist() for best in good],
                "logp": [best and [np.float16(each) for each in best[1]] for best in good],
                "about": [best and words for best in good],
            }
            return {f"{self.name}_{column}": value for column, value in values.items()} | {schema.ERROR: errors}

        return say
