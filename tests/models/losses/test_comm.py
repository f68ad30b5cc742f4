"""Rows of two real processes: what is gathered, and that gradients find their way back."""

import os
import socket

import torch
from torch import distributed, multiprocessing

from potstill.models.losses.comm import Alone, Group, gather_rows


def speak(rank, port, found):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    distributed.init_process_group("gloo", rank=rank, world_size=2)
    comm = Group()
    rows = torch.tensor([[1.0 + rank], [10.0 + rank]], dtype=torch.float64, requires_grad=True)
    valid = torch.tensor([True, rank == 1])
    (kept,) = gather_rows(comm, valid, rows)
    # Each rank weighs the sum of squares by 1 + rank: the gradient of a row is 2 x (1 + 2).
    ((1 + rank) * kept.square().sum()).backward()
    found[rank] = kept[:, 0].tolist(), rows.grad[:, 0].tolist(), comm.sum(kept.sum()).item(), comm.world
    distributed.destroy_process_group()


def test_rows_of_two_ranks_and_their_gradients():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with multiprocessing.Manager() as manager:
        found = manager.dict()
        multiprocessing.spawn(speak, (port, found), nprocs=2)
        assert found[0] == ([1.0, 2.0, 11.0], [6.0, 0.0], 28.0, 2)
        assert found[1] == ([1.0, 2.0, 11.0], [12.0, 66.0], 28.0, 2)


def test_one_process_keeps_its_own():
    rows = torch.arange(3.0)
    (kept,) = gather_rows(Alone(), torch.tensor([True, False, True]), rows)
    assert kept.tolist() == [0.0, 2.0] and Alone().sum(kept.sum()) == 2
