"""A row's picture: decoded once, held while the row lasts, within a budget, and sent as its file where that is safe."""

import asyncio
from io import BytesIO

import pytest
from PIL import Image

from potstill.models.engines import loop, settings
from potstill.models.engines.protocol import Completion, Request
from potstill.models.engines.settings import OpenaiEngine
from potstill.pipelines.synthesizers import shown
from potstill.pipelines.synthesizers.respond import Respond
from tests.pipelines.synthesizers.scripted import ENGINE, Scripted, lists, png, rows


def row(data, id_="one"):
    return [(f"shown-{id_}", data)]


@pytest.mark.parametrize("engine", [ENGINE, OpenaiEngine(base_url="http://127.0.0.1:9/v1", model="toy")])
def test_a_picture_is_decoded_once_and_its_bytes_are_given_back(monkeypatch, engine):
    budget = loop.Budget(10_000)
    monkeypatch.setattr(shown, "_budget", budget)
    held = []

    async def look():
        async with shown.Shown(row(png(9, (8, 6)), engine.kind), engine) as one:
            held.append(budget.free)
            (first,), (second,) = await one.images(), await one.images()
            held.append(budget.free)
            assert first is second and first.size == (8, 6)

    loop.run(look())
    assert held == [10_000, 10_000 - 4 * 8 * 6] and budget.free == 10_000


@pytest.mark.parametrize("engine", [ENGINE, OpenaiEngine(base_url="http://127.0.0.1:9/v1", model="toy")])
def test_a_broken_picture_raises_and_holds_nothing(monkeypatch, engine):
    budget = loop.Budget(20_000)
    monkeypatch.setattr(shown, "_budget", budget)

    async def look():
        noise = Image.effect_noise((64, 64), 90)
        buffer = BytesIO()
        noise.save(buffer, "PNG")
        async with shown.Shown(row(buffer.getvalue()[:1500], f"broken-{engine.kind}"), engine) as one:
            await one.images()

    with pytest.raises(OSError):
        loop.run(look())
    assert budget.free == 20_000


class Counting(Scripted):
    """Notes how many requests are under way, and replies when no more come."""

    def __init__(self):
        super().__init__(lambda request: "fine")
        self.now = self.most = 0

    async def generate(self, request):
        self.requests.append(request)
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0.02)
        self.now -= 1
        return Completion("fine", 1, 1, "stop")


SERVER = OpenaiEngine(base_url="http://127.0.0.1:9/v1", model="toy")


@pytest.fixture
def engine(monkeypatch):
    one = Counting()
    monkeypatch.setitem(settings._loaded, SERVER, one)
    return one


def test_all_rows_wait_at_the_engine_and_pictures_only_as_far_as_memory_goes(monkeypatch, engine):
    images = [png(shade, (10, 10)) for shade in range(30)]
    table = rows(images, instruction=["what?"] * 30)
    stage = Respond(engine=SERVER)
    assert stage.batch_rows >= 30 and stage.chunks_in_flight() == 4
    assert lists(stage.build()(table))["response"] == ["fine"] * 30
    assert engine.most == 30
    monkeypatch.setattr(shown, "_budget", loop.Budget(4 * 10 * 10 * 7))
    engine.most = 0
    assert lists(stage.build()(table))["response"] == ["fine"] * 30
    assert engine.most == 7


def jpeg(**options):
    buffer = BytesIO()
    Image.new("RGB", (8, 8), (200, 10, 10)).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def turned():
    exif = Image.Exif()
    exif[0x0112] = 6
    return jpeg(exif=exif)


def test_a_server_gets_the_file_where_it_shows_the_same_pixels(engine):
    images = [jpeg(), turned(), png(1)]
    result = lists(Respond(engine=SERVER).build()(rows(images, instruction=["a", "b", "c"])))
    assert result["error"] == [None] * 3
    by_words = {request.messages[0]["content"][-1]["text"]: request.encoded for request in engine.requests}
    assert by_words == {"a": (images[0],), "b": (None,), "c": (images[2],)}


def test_another_picture_than_the_rows_own_has_no_file():
    async def look():
        async with shown.Shown(row(png(5), "own"), SERVER) as one:
            (own,), other = await one.images(), Image.new("RGB", (2, 2))
            asked = [
                Request(prompt="x", images=(other, own)),
                Request(prompt="x", images=(other,)),
                Request(prompt="x"),
            ]
            assert [each.encoded for each in one.with_files(asked)] == [(None, png(5)), (None,), ()]
        async with shown.Shown(row(png(5), "own"), ENGINE) as one:
            assert one.with_files(Request(prompt="x", images=tuple(await one.images()))).encoded == ()

    loop.run(look())
