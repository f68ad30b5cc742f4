"""Two processes of one group, for tests of what several workers find together."""

from multiprocessing import get_context

import torch
from torch import distributed, multiprocessing

WORLD = 2
IMPORTED_ONCE = ["torch.distributed.fsdp", "tests.ranks"]


def two_ranks(work, folder):
    """What ``work(rank)`` returned in each of two processes of a gloo group.

    The processes are forked from one that has imported torch and does nothing else, so that starting them is cheap.
    """
    get_context("forkserver").set_forkserver_preload(IMPORTED_ONCE)
    multiprocessing.start_processes(_member, (work, str(folder)), nprocs=WORLD, start_method="forkserver")
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(WORLD)]


def _member(rank, work, folder):
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=WORLD)
    torch.save(work(rank), f"{folder}/{rank}.pt")
    distributed.barrier()
    distributed.destroy_process_group()
