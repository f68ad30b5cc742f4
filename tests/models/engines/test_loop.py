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


def holders(sizes, limit):
    """Most bytes held at one time, and the order in which they were taken, of one task for each size."""
    budget, held, most, order = loop.Budget(limit), [], [], []

    async def hold(size):
        taken = await budget.take(size)
        held.append(size)
        order.append(size)
        most.append(sum(held))
        await asyncio.sleep(0.001)
        held.remove(size)
        budget.give(taken)

    async def all_of_them():
        await asyncio.gather(*map(hold, sizes))
        assert budget.free == limit

    loop.run(all_of_them())
    return max(most), order


def test_a_budget_is_never_passed_and_served_in_order():
    sizes = [3, 4, 2, 5, 1, 1, 6, 2]
    assert holders(sizes, 7) == (7, sizes)


def test_one_that_is_larger_than_the_budget_is_alone():
    assert holders([2, 50, 1], 10) == (50, [2, 50, 1])


def test_who_leaves_the_line_takes_nothing():
    async def leave():
        budget = loop.Budget(4)
        first = await budget.take(3)
        second, third = (asyncio.ensure_future(budget.take(2)) for _ in range(2))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.sleep(0)
        budget.give(first)
        assert await third == 2 and budget.free == 2

    loop.run(leave())
