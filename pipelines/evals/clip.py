"""A CLIP model: do pictures and texts find each other, are classes told apart, how many directions are used."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field, field_validator

from potstill.config import RequestError
from potstill.models.metrics.rankme import rankme
from potstill.models.metrics.retrieval import places
from potstill.models.metrics.zero_shot import TEMPLATES, class_vectors, prompts
from potstill.pipelines import schema
from potstill.pipelines.evals.batches import Batches, Seen
from potstill.pipelines.evals.classes import class_names, classified
from potstill.pipelines.evals.evaluation import Evaluation, Measured, single
from potstill.pipelines.evals.reading import Reader, encoded, texts
from potstill.pipelines.pixels import convert

if TYPE_CHECKING:
    from potstill.models.clip import Clip

WAYS = "give tiny, an open_clip architecture with its pretrained tag, hf-hub:NAME or local-dir:FOLDER"


class ClipEvaluation(Evaluation):
    """Recall of texts by pictures and of pictures by texts, zero-shot accuracy, and RankMe of both embeddings."""

    kind: Literal["clip"] = "clip"
    model: str = "tiny"
    """``tiny`` (embedded), an open_clip architecture, ``hf-hub:NAME`` or ``local-dir:FOLDER``."""
    pretrained: str | None = None
    """open_clip's tag of the weights, or a file of weights; none for ``tiny``, ``hf-hub:`` and ``local-dir:``."""
    image: str = schema.IMAGE
    """Column of pictures."""
    text: tuple[str, ...] = (schema.CAPTION,)
    """Columns of texts, or of lists of texts: all of them belong to the picture. Empty: no retrieval."""
    recall: tuple[int, ...] = Field(default=(1, 5), min_length=1)
    """The k of recall at k."""
    label: str | None = None
    """Column with the class: its name, or its number in ``classes``. Without it there is no zero-shot accuracy."""
    classes: tuple[str, ...] | dict[str, str] = ()
    """All classes, or label -> name in the prompts; the labels of the rows unless given."""
    templates: tuple[str, ...] = Field(default=TEMPLATES, min_length=1)
    """Prompts with {} for the class."""
    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?|mps)$")
    """``auto`` takes a GPU if there is one."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Number format of the forward pass; it belongs to the result."""
    batch_size: int = Field(default=64, ge=1, le=8192)
    """Pictures, or texts, per forward pass."""

    @field_validator("templates")
    @classmethod
    def _have_places(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        prompts((), value)
        return value

    @field_validator("recall")
    @classmethod
    def _positive(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if min(value) < 1:
            raise ValueError(f"recall at {min(value)} means nothing; give numbers from 1")
        return value

    def columns(self) -> tuple[str, ...]:
        """The picture, the texts, the label."""
        return (self.image, *self.text, *((self.label,) if self.label else ()))

    def model_identity(self) -> Mapping[str, Any]:
        """Name and revision."""
        from potstill.models.clip import clip_revision

        try:
            revision = clip_revision(self.model, self.pretrained)
        except (ValueError, OSError, ImportError) as error:
            raise RequestError(f"model {self.model!r}: {error}; {WAYS}") from error
        return {"model": self.model, "pretrained": self.pretrained, "digest": revision}

    def measure(self, rows: Reader) -> Measured:
        """Every picture and every text is embedded once, however many rows share it."""
        said, labels = self._words(rows)
        names = class_names(self.classes, labels, self.label) if self.label else {}
        begin = time.monotonic()
        clip = self._load()
        found = Measured(facts={"loading_seconds": round(time.monotonic() - begin, 3)})
        pictures = Batches(
            encoded,
            lambda data: clip.preprocess(convert(data)),
            lambda inputs: clip.embed(inputs).cpu().numpy(),
            self.batch_size,
        )
        seen = pictures.run(rows, self.image)
        found.errors, found.facts["pictures"] = seen.errors, len(seen.outputs)
        if len(seen.outputs):
            found.metrics["rankme_pictures"] = single(rankme(seen.outputs), len(seen.outputs))
            found.add(self._retrieved(clip, seen, said) if self.text else Measured())
            found.add(self._named(clip, seen, labels, names) if names else Measured())
        return found

    def _words(self, rows: Reader) -> tuple[list[list[str]], list[Any]]:
        """Texts and label of each row, read first: where there are none, no picture need be looked at."""
        said: list[list[str]] = []
        labels: list[Any] = []
        wanted = self.columns()[1:]
        for table in rows.tables(wanted) if wanted else ():
            cells = zip(*(table[name].to_pylist() for name in self.text), strict=True)
            said += [[text for cell in row for text in texts(cell)] for row in cells]
            labels += table[self.label].to_pylist() if self.label else []
        if self.text and not any(said):
            raise RequestError(f"no row has a text in {', '.join(self.text)}; name other columns, or none: text=[]")
        known = [label for label in labels if label is not None]
        if known and not self.classes and all(isinstance(label, int) for label in known):
            raise RequestError(f"{self.label!r} holds numbers; name their classes, in this order, in classes")
        return said, labels

    def _load(self) -> Clip:
        import torch

        from potstill.models.clip import load_clip

        device = ("cuda" if torch.cuda.is_available() else "cpu") if self.device == "auto" else self.device
        try:
            return load_clip(self.model, self.pretrained, device=device, precision=self.precision)
        except (ValueError, OSError, ImportError, RuntimeError) as error:
            raise RequestError(f"cannot load model {self.model!r}: {error}; {WAYS}") from error

    def _retrieved(self, clip: Clip, seen: Seen, said: Sequence[Sequence[str]]) -> Measured:
        """Recall both ways among the pictures that have a text; equal texts are one candidate, right for all theirs."""
        rows = list(zip(seen.places, said, strict=True))
        silent = sum(place is not None and not mine for place, mine in rows)
        own = [(place, text) for place, mine in rows if place is not None for text in mine]
        found = Measured(left_out={"no text": silent} if silent else {})
        if not own:
            return found
        text_at = {text: number for number, text in enumerate(dict.fromkeys(text for _, text in own))}
        picture_at = {place: number for number, place in enumerate(dict.fromkeys(place for place, _ in own))}
        captions, shown = clip.encode_texts(list(text_at), self.batch_size), seen.outputs[list(picture_at)]
        pairs = np.array([(picture_at[place], text_at[text]) for place, text in own])
        to_text, to_picture = places(shown, captions, pairs), places(captions, shown, pairs[:, ::-1])
        found.metrics["rankme_texts"] = single(rankme(captions), len(captions))
        for way, stands in (("picture_to_text", to_text), ("text_to_picture", to_picture)):
            for k in self.recall:
                found.metrics[f"{way}_r@{k}"] = self.mean(f"{way}_r@{k}", stands.hits(k), None)
        for place, mine in rows:
            own_at = (picture_at[place], text_at[mine[0]]) if place is not None and mine else None
            found.column("picture_to_text_place", own_at and int(to_text.above[own_at[0]]) + 1)
            found.column("text_to_picture_place", own_at and int(to_picture.above[own_at[1]]) + 1)
        cut = sum(clip.truncated(list(text_at)))
        found.facts = {"pictures_with_text": len(shown), "texts": len(captions), "texts_cut": cut}
        return found

    def _named(self, clip: Clip, seen: Seen, labels: Sequence[Any], names: Mapping[str, str]) -> Measured:
        """Zero-shot accuracy over the rows with a label."""
        directions = class_vectors(
            lambda asked: clip.encode_texts(asked, self.batch_size), list(names.values()), self.templates
        )
        return classified(self, seen.outputs @ directions.T, seen.places, labels, list(names), "zero_shot_")[0]
