"""How losses speak with other ranks: alone, or through a process group."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor


class Comm(Protocol):
    """The ranks of a training."""

    world: int
    rank: int

    def gather(self, x: Tensor) -> Tensor:
        """Rows (B, ...) of all ranks (W * B, ...) in the order of ranks, with exact gradient; B is equal everywhere."""
        ...

    def sum(self, x: Tensor) -> Tensor:
        """Sum over ranks, without gradient."""
        ...


class Alone:
    """One process."""

    world, rank = 1, 0

    def gather(self, x: Tensor) -> Tensor:
        """The rows themselves."""
        return x

    def sum(self, x: Tensor) -> Tensor:
        """The number itself."""
        return x.detach()


class Group:
    """The default process group of torch.distributed."""

    def __init__(self) -> None:
        from torch import distributed

        self.world, self.rank = distributed.get_world_size(), distributed.get_rank()

    def gather(self, x: Tensor) -> Tensor:
        """Rows of all ranks; a gradient that reaches a row on any rank flows back to where the row is."""
        from torch import distributed
        from torch.distributed._functional_collectives import all_gather_single_autograd

        return all_gather_single_autograd(x.contiguous(), 0, distributed.group.WORLD)

    def sum(self, x: Tensor) -> Tensor:
        """All-reduced."""
        from torch import distributed

        x = x.detach().clone()
        distributed.all_reduce(x)
        return x


def gather_rows(comm: Comm, valid: Tensor, *rows: Tensor) -> tuple[Tensor, ...]:
    """Of each (B, ...) the ``valid`` (B,) rows of all ranks; ranks may have different numbers of them."""
    where = comm.gather(valid)
    return tuple(comm.gather(x)[where] for x in rows)
