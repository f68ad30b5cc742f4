"""One question of a ``prompt`` stage: how it is asked, and what is read from the reply."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import pyarrow as pa
from pydantic import Field, ValidationInfo, field_validator, model_validator

from potstill.config import Settings
from potstill.models.engines.protocol import Completion, Request, Sampling
from potstill.pipelines import schema
from potstill.pipelines.filters.filter import Filter
from potstill.pipelines.synthesizers import replies
from potstill.pipelines.synthesizers.prompt_text import PromptText, words
from potstill.pipelines.synthesizers.prompts import Prompt
from potstill.pipelines.synthesizers.synthesizer import Reject, Row, user_turn
from potstill.pipelines.synthesizers.verdict import verdict


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
    fields: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")], replies.FieldType] = Field(default_factory=dict)
    """For ``json``: field -> text, int, float, bool or list (of texts), with ``?`` where it may be missing; or a list
    of the values allowed. Each becomes the column ``<stage>_<name>_<field>``."""
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
        if (self.parse == "choice") != bool(self.choices) or len({each.casefold() for each in self.choices}) == 1:
            raise ValueError(f"step {self.name!r}: `parse: choice` and at least two `choices` go together")
        if (self.parse == "json") != bool(self.fields):
            raise ValueError(f"step {self.name!r}: `parse: json` and `fields` go together")
        if self.column and self.parse == "json":
            raise ValueError(f"step {self.name!r}: a `json` step writes one column for each field; leave `column` out")
        if schema.IMAGE in self.places:
            raise ValueError(
                f"step {self.name!r}: {{image}} is no text; `image: true` shows the picture before the words"
            )
        if self.keep:
            Filter(name="keep", keep=self.keep)
        return self

    @property
    def places(self) -> tuple[str, ...]:
        """Names that the prompt wants filled."""
        return Prompt(self.name, 1, self.prompt).places

    def columns(self, stage: str) -> dict[str, tuple[str, pa.DataType]]:
        """Name that later steps use -> (column, its type)."""
        if self.parse == "json":
            kinds = replies.columns(self.fields)
            return {f"{self.name}_{field}": (f"{stage}_{self.name}_{field}", kind) for field, kind in kinds.items()}
        kind = {"score": pa.int8(), "lines": pa.list_(pa.string())}.get(self.parse, pa.string())
        return {self.name: (self.column or f"{stage}_{self.name}", kind)}

    def request(self, row: Row, values: Mapping[str, Any]) -> Request:
        """The question, with the places filled. Raises ``ValueError`` for a place without a value."""
        filled = {name: words(name, value) for name, value in values.items()}
        turn = user_turn(Prompt(self.name, 1, self.prompt).fill(**filled), image=self.image)
        sampling = Sampling(self.temperature, self.top_k, self.top_p, self.max_tokens, stop=self.stop)
        choices = self.choices if self.choices and self.only_choices else None
        return Request([turn], images=(row[schema.IMAGE],) if self.image else (), sampling=sampling, choices=choices)

    def read(self, reply: Completion) -> dict[str, Any] | Reject:
        """Name that later steps use -> value. Raises :class:`~.synthesizer.UnparsableReply`."""
        complete = reply.finish_reason == "stop"
        match self.parse:
            case "score":
                return {self.name: verdict(reply.text, complete=complete)}
            case "choice":
                return {self.name: replies.choice(reply.text, self.choices)}
            case "json":
                return {f"{self.name}_{key}": value for key, value in replies.fields(reply.text, self.fields).items()}
            case "lines":
                found = replies.lines(reply.text, complete=complete)
            case "text":
                found = reply.text.strip()
        if found and self.whole and not complete:
            return Reject(f"truncated_{self.name}")
        return {self.name: found} if found else Reject(f"empty_{self.name}")
