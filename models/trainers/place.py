"""Which worker of a training this is, and on which device."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from potstill.models.losses.comm import Alone, Comm, Group
from potstill.models.trainers.recipe import Recipe


@dataclass
class Place:
    """A worker."""

    comm: Comm
    device: str


def alone(recipe: Recipe) -> Place:
    """This process."""
    return Place(Alone(), "cuda" if recipe.compute.gpu else "cpu")


def grouped(recipe: Recipe) -> Place:
    """A worker of a process group."""
    comm = Group()
    return Place(comm, f"cuda:{torch.cuda.current_device()}" if recipe.compute.gpu else "cpu")
