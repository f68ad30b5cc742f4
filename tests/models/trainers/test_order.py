"""The order of rows: every row once an epoch, the same from anywhere, equal shares for workers."""

import numpy as np
import pytest

from potstill.models.trainers.feed import span
from potstill.models.trainers.order import Order

SIZES = (5, 3, 7, 1)


@pytest.mark.parametrize("window", [1, 4, 16, 50])
def test_an_epoch_holds_every_row_once(window):
    order = Order(SIZES, window, seed=3)
    rows = np.concatenate([order.window_rows(index) for index in range(-(-48 // window))])[:48]
    for epoch in (1, 2, 3):
        part = rows[rows["epoch"] == epoch]
        seen = sorted(zip(part["group"].tolist(), part["row"].tolist(), strict=True))
        assert seen == [(group, row) for group, size in enumerate(SIZES) for row in range(size)]


def test_the_order_differs_between_epochs_and_seeds_and_is_else_the_same():
    def epochs(seed):
        rows = Order(SIZES, 16, seed).window_rows
        return [list(zip(rows(k)["group"].tolist(), rows(k)["row"].tolist(), strict=True)) for k in (0, 1)]

    first, second = epochs(0)
    assert first != second and epochs(0) == [first, second] and epochs(1) != [first, second]


def test_without_shuffling_rows_come_as_they_stand():
    rows = Order(SIZES, 10, 0, shuffle=False).window_rows(1)
    assert rows["epoch"].tolist() == [1] * 6 + [2] * 4
    assert rows["group"].tolist() == [2] * 5 + [3] + [0] * 4
    assert rows["row"].tolist() == [2, 3, 4, 5, 6, 0, 0, 1, 2, 3]


def test_workers_go_on_where_they_were():
    assert span(10, 0, 25, 1) == (0, 3, 0)
    assert span(10, 0, 25, 2) == (0, 6, 0)
    assert span(10, 14, 25, 2) == (2, 4, 4)
    assert span(10, 20, 30, 3) == (6, 3, 0)
