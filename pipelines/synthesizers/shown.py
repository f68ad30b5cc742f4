"""A row's picture as an engine is shown it: decoded once, and no more of them at a time than memory allows."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from potstill.models.engines.loop import Budget
from potstill.models.engines.protocol import Request
from potstill.models.engines.settings import EngineSettings
from potstill.pipelines import pixels, schema

if TYPE_CHECKING:
    from PIL.Image import Image

SHOWN_BYTES = 1 << 30
"""Decoded pictures, at 4 bytes a pixel, that the rows under way in one process hold together."""

_budget = Budget(SHOWN_BYTES)


class Shown:
    """The picture of a row, decoded when it is first wanted and held until the row is done."""

    def __init__(self, row: Mapping[str, Any], engine: EngineSettings) -> None:
        self._row, self._engine = row, engine
        self._image: Image | None = None
        self._held = 0

    async def __aenter__(self) -> Shown:
        return self

    async def __aexit__(self, *_: object) -> None:
        _budget.give(self._held)

    async def image(self) -> Image:
        """The decoded picture. Raises what decoding raises.

        Decoded in another thread for an engine that does not mind in which order requests come.
        """
        if self._image is None:
            id_, data = self._row[schema.IMAGE_ID], self._row[schema.IMAGE]
            width, height = pixels.open_header(data).size
            self._held = await _budget.take(4 * width * height)
            if self._engine.chunks_in_flight > 1:
                self._image = await asyncio.to_thread(pixels.decode, id_, data)
            else:
                self._image = pixels.decode(id_, data)
        return self._image

    def with_files(self, asked: Any) -> Any:
        """A request, or a list of some, with the file of the picture beside it where an engine can send that: where it
        decodes to the same pixels everywhere."""
        if self._image is None or not self._engine.sends:
            return asked
        if not isinstance(asked, Request):
            return [self.with_files(each) for each in asked]
        data = self._row[schema.IMAGE]
        files = [data if image is self._image and pixels.is_plain(data) else None for image in asked.images]
        return replace(asked, encoded=tuple(files))
