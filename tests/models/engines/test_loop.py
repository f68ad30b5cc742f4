"""Work of several threads meets on one loop."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from potstill.models.engines import loop


async def here():
    return asyncio.get_running_loop()


def test_all_threads_share_one_loop():
    with ThreadPoolExecutor(4) as pool:
        loops = list(pool.map(lambda _: loop.run(here()), range(8)))
    assert len(set(map(id, [*loops, loop.run(here())]))) == 1


def test_what_the_work_raises_is_raised():
    async def fails():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        loop.run(fails())
