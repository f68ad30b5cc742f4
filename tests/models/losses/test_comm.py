"""Rows of two real processes: what is gathered, and that gradients find their way back."""

import torch

from potstill.models.losses.comm import Alone, Group, gather_rows
from tests.ranks import two_ranks


def speak(rank):
    comm = Group()
    rows = torch.tensor([[1.0 + rank], [10.0 + rank]], dtype=torch.float64, requires_grad=True)
    valid = torch.tensor([True, rank == 1])
    (kept,) = gather_rows(comm, valid, rows)
    # Each rank weighs the sum of squares by 1 + rank: the gradient of a row is 2 x (1 + 2).
    ((1 + rank) * kept.square().sum()).backward()
    return kept[:, 0].tolist(), rows.grad[:, 0].tolist(), comm.sum(kept.sum()).item(), comm.world


def test_rows_of_two_ranks_and_their_gradients(tmp_path):
    first, second = two_ranks(speak, tmp_path)
    assert first == ([1.0, 2.0, 11.0], [6.0, 0.0], 28.0, 2)
    assert second == ([1.0, 2.0, 11.0], [12.0, 66.0], 28.0, 2)


def test_one_process_keeps_its_own():
    rows = torch.arange(3.0)
    (kept,) = gather_rows(Alone(), torch.tensor([True, False, True]), rows)
    assert kept.tolist() == [0.0, 2.0] and Alone().sum(kept.sum()) == 2
