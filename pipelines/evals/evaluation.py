"""What all evaluations share: settings, the rows that they read, and what they find."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xxhash
from pydantic import Field

from potstill.config import Settings
from potstill.models.metrics.bootstrap import Estimate, mean_interval
from potstill.models.trainers.settings import Rows
from potstill.pipelines.evals.reading import Reader

NAN = float("nan")


@dataclass(slots=True)
class Measured:
    """Numbers over all rows, and columns with a value for each row."""

    metrics: dict[str, Estimate] = field(default_factory=dict)
    columns: dict[str, list[Any]] = field(default_factory=dict)
    """Column -> its values, in the order of the rows; null where there is nothing to say."""
    errors: Sequence[Exception | None] = ()
    """For each row why it could not be measured."""
    left_out: dict[str, int] = field(default_factory=dict)
    """Reason -> how many rows did not count for some metric, beside those with an error."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What the numbers depend on: how many candidates and classes there were."""

    def add(self, other: Measured) -> None:
        """Take over what another part of the evaluation found about the same rows."""
        self.metrics |= other.metrics
        self.columns |= other.columns
        self.left_out |= other.left_out
        self.facts |= other.facts

    def column(self, name: str, value: Any) -> None:
        """Add the next row's value to a column."""
        self.columns.setdefault(name, []).append(value)


class Evaluation(Settings):
    """One model, or one set of judged rows, and what to measure."""

    kind: str
    data: Rows
    """The rows: a run's product, or any Parquet."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Of the resampling, and of whatever else is drawn."""
    resamples: int = Field(default=1000, ge=100, le=100_000)
    """Bootstrap resamples of each interval."""
    confidence: float = Field(default=0.95, gt=0, lt=1)
    """Of the intervals."""
    max_error_fraction: float = Field(default=0.05, ge=0, le=1)
    """Share of rows that may fail before nothing is reported."""

    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """Columns that must be there."""

    @abstractmethod
    def model_identity(self) -> Mapping[str, Any]:
        """Name and digest of what is measured. Raises :class:`RequestError` for a model that is not there."""

    @abstractmethod
    def measure(self, rows: Reader) -> Measured:
        """Read the rows, compute, count."""

    def mean(self, name: str, values: Sequence[float] | np.ndarray, groups: Sequence[Hashable] | None) -> Estimate:
        """The mean with its interval; ``groups`` are drawn as a whole."""
        seed = xxhash.xxh3_64_intdigest(f"{self.seed}/{name}".encode())
        return mean_interval(values, seed=seed, resamples=self.resamples, confidence=self.confidence, groups=groups)


def single(value: float, n: int) -> Estimate:
    """A number that has no interval."""
    return Estimate(value, NAN, NAN, n)
