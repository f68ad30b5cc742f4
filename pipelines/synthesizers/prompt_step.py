"""One question of a ``prompt`` stage: how it is asked, and what is read from the reply."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal

import pyarrow as pa
from pydantic import BaseModel, Field, ValidationInfo, field_validator, model_validator

from potstill.config import Settings
from potstill.models.engines.protocol import Request, Sampling
from potstill.pipelines import schema
from potstill.pipelines.filters.filter import Filter
from potstill.pipelines.synthesizers import prompt_forms, typed_reply
from potstill.pipelines.synthesizers.prompt_text import PromptText, words
from potstill.pipelines.synthesizers.prompts import Prompt
from potstill.pipelines.synthesizers.synthesizer import Row, user_turn
from potstill.pipelines.synthesizers.verdict import SCORES, Mode

ITEM = "item"
"""Place of the item in a question that is asked for each of a list."""


class PromptStep(Settings):
    """A question, asked with one prompt."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=40)
    """Later steps and conditions know the reply by this name; its column is ``<stage>_<name>``."""
    prompt: PromptText
    """What is asked, or ``{file: PATH}``. ``{word}`` is a place for an earlier step's reply, or for a column."""
    image: bool = True
    """Show the picture, before the words."""
    parse: Literal["text", "score", "choice", "json", "lines"] = "text"
    """What the reply is: text, a score from 1 to 5, one of ``choices``, a JSON object of ``fields``, or lines."""
    choices: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """For ``choice``: what may be replied."""
    only_choices: bool = True
    """Let the engine reply nothing but a choice; if false it may reason, and its words are searched for the choice."""
    mode: Mode = "text"
    """For ``score``: ``expected`` lets only scores be replied, and writes their mean to ``<stage>_<name>_expected``."""
    fields: dict[typed_reply.Name, typed_reply.FieldType] = Field(default_factory=dict)
    """For ``json``: field -> text, int, float, bool or list (of texts), with ``?`` where it may be missing; a list of
    the values allowed; fields of an object, or these in brackets for a list of objects. Each becomes the column
    ``<stage>_<name>_<field>``."""
    each: str | None = None
    """An earlier reply, or a column, that is a list: ask for each of its items, all at once; ``{item}`` is its place.
    The column is then a list, with ``_share`` for the share of the first of ``choices``, or ``_mean`` for scores."""
    keep: dict[str, str] = Field(default_factory=dict)
    """Reason -> condition, as in a filter: the row goes on, and later steps are asked, only if all hold."""
    whole: bool = False
    """Reject a text that the token limit cut off (``truncated_<name>``)."""
    column: str | None = Field(default=None, pattern=r"^[a-z][a-z0-9_]*$")
    """Column to write instead of ``<stage>_<name>``: ``instruction``, say."""
    temperature: float = Field(default=0.0, ge=0, le=5)
    top_k: int = Field(default=0, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    max_tokens: int = Field(default=256, ge=1)
    stop: tuple[str, ...] = ()
    """Texts at which the reply ends."""

    @field_validator("keep", mode="before")
    @classmethod
    def _one_condition(cls, value: Any, info: ValidationInfo) -> Any:
        return {info.data.get("name", "failed"): value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _fits(self) -> PromptStep:
        unfit = {
            "`parse: choice` and at least two `choices` go together": (self.parse == "choice") != bool(self.choices)
            or len({each.casefold() for each in self.choices}) == 1,
            "`parse: json` and `fields` go together": (self.parse == "json") != bool(self.fields),
            "a `json` step writes one column for each field; leave `column` out": self.column and self.fields,
            "`mode: expected` goes with `parse: score`": self.mode == "expected" and self.parse != "score",
            "`each` and the place {item} in the prompt go together": (self.each is None) == (ITEM in self.places),
            f"`each` goes with {', '.join(prompt_forms.LISTED)}, and without `whole`": self.each is not None
            and (self.whole or self.parse not in prompt_forms.LISTED),
            "{image} is no text; `image: true` shows the picture before the words": schema.IMAGE in self.places,
        }
        for message, wrong in unfit.items():
            if wrong:
                raise ValueError(f"step {self.name!r}: {message}")
        if self.keep:
            Filter(name="keep", keep=self.keep)
        return self

    @property
    def places(self) -> tuple[str, ...]:
        """Names that the prompt wants filled."""
        return Prompt(self.name, 1, self.prompt).places

    @property
    def wants(self) -> tuple[str, ...]:
        """Names of earlier replies and of columns that the question needs."""
        names = [name for name in self.places if self.each is None or name != ITEM]
        return tuple(dict.fromkeys([self.each, *names] if self.each else names))

    @cached_property
    def model(self) -> type[BaseModel]:
        """Model of a JSON reply."""
        return typed_reply.model(self.fields)

    def columns(self, stage: str) -> dict[str, tuple[str, pa.DataType]]:
        """Name that later steps use -> (column, its type)."""
        base = self.column or f"{stage}_{self.name}"
        return {self.name + ending: (base + ending, kind) for ending, kind in prompt_forms.kinds(self).items()}

    def request(self, row: Row, values: Mapping[str, Any], *, guided: bool) -> Request:
        """The question, with its places filled and, if ``guided``, with the schema of a JSON reply.

        Raises ``ValueError`` for a place without a value.
        """
        filled = {name: words(name, value) for name, value in values.items()}
        images = row[schema.IMAGES_OF_GROUP] if self.image else ()
        turn = user_turn(Prompt(self.name, 1, self.prompt).fill(**filled), image=len(images))
        sampling = Sampling(self.temperature, self.top_k, self.top_p, self.max_tokens, stop=self.stop)
        choices = SCORES if self.mode == "expected" else (self.only_choices and self.choices) or None
        form = typed_reply.schema(self.fields) if guided and self.fields else None
        return Request([turn], images=images, sampling=sampling, choices=choices, schema=form)
