"""What every source offers: a list of its items without reading pixels, and the rows of one item."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

from potstill.config import Settings


@dataclass(frozen=True, slots=True)
class Item:
    """The smallest piece of a source that is read at once: a file, a slice of a row group, a run of tar members.

    ``key`` is unique in the source and stable; ``version`` changes when the content may have (size and time, or ETag);
    ``rows`` is exactly what :meth:`Source.read` will yield; ``bytes`` is about what it holds; ``at`` is JSON for the
    source's own use.
    """

    key: str
    version: str
    rows: int
    bytes: int
    at: str = "{}"


@dataclass(frozen=True, slots=True)
class RawRow:
    """One input row as it came. ``error`` says why the image could not be had: the row is quarantined, not lost."""

    source: str
    image: bytes | None = None
    error: Exception | None = None
    licence: str | None = None
    caption: str | None = None
    instruction: str | None = None
    response: str | None = None
    meta: str | None = None


class MissingImage(ValueError):
    """A row without a picture."""


class Source(Settings):
    """A place that rows come from."""

    @abstractmethod
    def items(self, max_rows: int, max_bytes: int) -> Iterator[Item]:
        """All items, in an order that depends on the source only; none larger than the limits where it can be cut.

        Raises :class:`potstill.config.RequestError` when the place is missing, empty or unreadable.
        """

    @abstractmethod
    def read(self, item: Item) -> Iterator[RawRow]:
        """The rows of one item: exactly ``item.rows``, bad ones with ``error`` set."""
