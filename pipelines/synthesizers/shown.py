"""A row's pictures as an engine is shown them: decoded once, and no more of them at a time than memory allows."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from potstill.models.engines.loop import Budget
from potstill.models.engines.protocol import Request
from potstill.models.engines.settings import EngineSettings
from potstill.pipelines import pixels

if TYPE_CHECKING:
    from PIL.Image import Image

SHOWN_BYTES = 1 << 30
"""Decoded pictures, at 4 bytes a pixel, that the rows under way in one process hold together."""

_budget = Budget(SHOWN_BYTES)


class Shown:
    """The pictures of a row, given as (id, encoded bytes): decoded when first wanted, held until the row is done."""

    def __init__(self, files: Sequence[tuple[str, bytes]], engine: EngineSettings) -> None:
        self._files, self._engine = files, engine
        self._images: list[Image] = []
        self._held = 0

    async def __aenter__(self) -> Shown:
        return self

    async def __aexit__(self, *_: object) -> None:
        _budget.give(self._held)

    async def images(self) -> list[Image]:
        """The decoded pictures. Raises what decoding raises.

        Decoded in another thread for an engine that does not mind in which order requests come.
        """
        if not self._images:
            sizes = [pixels.open_header(data).size for _, data in self._files]
            self._held = await _budget.take(sum(4 * width * height for width, height in sizes))
            if self._engine.chunks_in_flight > 1:
                self._images = await asyncio.to_thread(self._decoded)
            else:
                self._images = self._decoded()
        return self._images

    def _decoded(self) -> list[Image]:
        return [pixels.decode(id_, data) for id_, data in self._files]

    def with_files(self, asked: Any) -> Any:
        """A request, or a list of some, with the files of the pictures beside it where an engine can send those: where
        they decode to the same pixels everywhere."""
        if not self._images or not self._engine.sends:
            return asked
        if not isinstance(asked, Request):
            return [self.with_files(each) for each in asked]
        own = {id(image): data for image, (_, data) in zip(self._images, self._files, strict=True)}
        found = [own.get(id(image)) for image in asked.images]
        return replace(asked, encoded=tuple(data if data and pixels.is_plain(data) else None for data in found))
