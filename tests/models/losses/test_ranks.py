"""Two processes with half of the rows each give the loss and the gradients of one process with all of them."""

import pytest
import torch

from potstill.models.losses.albef import Albef
from potstill.models.losses.barlow_twins import BarlowTwins
from potstill.models.losses.clip_affinity import ClipAffinity
from potstill.models.losses.clip_kd import ClipKd
from potstill.models.losses.comm import Alone, Group
from potstill.models.losses.crd import Crd
from potstill.models.losses.dcl import Dcl
from potstill.models.losses.info_nce import InfoNce
from potstill.models.losses.loss import Batch, Labels, Output
from potstill.models.losses.nt_xent import NtXent
from potstill.models.losses.pkt import Pkt
from potstill.models.losses.rkd import Rkd
from potstill.models.losses.siglip import SigLip
from potstill.models.losses.similarity_preserving import SimilarityPreserving
from potstill.models.losses.stack import LossStack
from potstill.models.losses.vicreg import Vicreg
from tests.ranks import WORLD, two_ranks

ROWS, INPUTS, WIDTH = 8, 5, 4
LOSSES = {
    "info_nce": InfoNce(),
    "info_nce, some rows": InfoNce(mask="some"),
    "info_nce, wrong texts": InfoNce(mask="some", wrong="wrong"),
    "siglip": SigLip(),
    "siglip, teacher": SigLip(target="teacher", mask="some"),
    "clip_affinity": ClipAffinity(teacher_scale=(20, 30)),
    "clip_kd": ClipKd(),
    "albef": Albef(),
    "albef, queue": Albef(queue=12, mask="some"),
    "dcl": Dcl(sigma=0.5),
    "nt_xent": NtXent(mask="some"),
    "barlow_twins": BarlowTwins(mask="some"),
    "vicreg": Vicreg(mask="some"),
    "similarity_preserving": SimilarityPreserving(student="image", teacher="text", gather=True),
    "pkt": Pkt(student="image", teacher="text", gather=True, mask="some"),
    "rkd": Rkd(student="image", teacher="text", gather=True, mask="some"),
    "crd, queue": Crd(student="image", teacher="text", width=3, queue=12, mask="some"),
    "crd, short queue": Crd(student="image", teacher="text", width=3, queue=3),
}


def batch_of(rows, parameters, comm, name):
    """Rows of the same data everywhere, embedded with shared parameters."""
    g = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    x, y = draw(ROWS, INPUTS)[rows], draw(ROWS, INPUTS)[rows]
    width = WIDTH if name.startswith("albef") else WIDTH + 1
    teachers = tuple(
        Output(image=draw(ROWS, width)[rows], text=draw(ROWS, width)[rows], scale=5.0, bias=-2.0)
        for _ in range(2 if name == "clip_affinity" else 1)
    )
    # The second rank has three rows of the mask, the first but two; groups and weights run over both.
    some = torch.tensor([True, False, False, True, True, True, False, True])[rows]
    group = torch.tensor([0, 1, 2, 3, 3, 4, 1, 5])[rows]
    weight = torch.tensor([1.0, 2, 0.5, 1, 1, 3, 1, 0])[rows]
    labels = Labels(len(some), masks={"some": some}, group=group, weight=weight)
    wrong = draw(ROWS, 2, INPUTS)[rows] * torch.tensor([True, False, True, True] * 4).view(ROWS, 2, 1)[rows]
    student = Output(image=x @ parameters["image"], text=y @ parameters["text"], scale=parameters["scale"].exp(),
                     bias=parameters["bias"], features={"wrong": wrong @ parameters["text"]})  # fmt: skip
    return Batch(student, labels, teachers, comm=comm)


def two_steps(name, rows, comm):
    """Value and gradients of the second of two equal steps, averaged over ranks as DDP averages them."""
    loss = LOSSES[name]
    g = torch.Generator().manual_seed(1)
    parameters = {key: torch.randn(INPUTS, WIDTH, generator=g, dtype=torch.float64) for key in ("image", "text")}
    parameters |= {"scale": torch.tensor(1.5, dtype=torch.float64), "bias": torch.tensor(-1.0, dtype=torch.float64)}
    parameters = {key: x.requires_grad_() for key, x in parameters.items()}
    torch.manual_seed(2)
    stack = LossStack([loss], batch_of(rows, parameters, comm, name)).double()
    counts = {
        key: count * comm.world for key, count in stack.counts(batch_of(rows, parameters, comm, name).labels).items()
    }
    for _ in range(2):
        total = stack(batch_of(rows, parameters, comm, name), counts).value * comm.world
    total.backward()
    named = parameters | dict(stack.named_parameters())
    gradients = {
        key: comm.sum(torch.zeros_like(x) if x.grad is None else x.grad) / comm.world for key, x in named.items()
    }
    return {"value": comm.sum(total) / comm.world, **gradients}


def work(rank):
    half = ROWS // WORLD
    return {name: two_steps(name, slice(rank * half, (rank + 1) * half), Group()) for name in LOSSES}


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    return two_ranks(work, tmp_path_factory.mktemp("ranks"))


@pytest.mark.parametrize("name", LOSSES)
def test_two_ranks_are_one_process(ranks, name):
    alone = two_steps(name, slice(0, ROWS), Alone())
    assert alone["value"] != 0 and alone["image"].abs().max() > 1e-3
    for found in ranks:
        assert set(found[name]) == set(alone)
        for key, x in alone.items():
            torch.testing.assert_close(found[name][key], x, rtol=1e-6, atol=1e-9, msg=lambda m, key=key: f"{key}: {m}")
