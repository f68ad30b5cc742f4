"""What a rank does in the tests of several: a step of the same eight ragged samples, cut in another way."""

import torch
from torch import nn

from potstill.models.losses.comm import Alone, Group
from potstill.models.losses.cross_entropy import CrossEntropy
from potstill.models.losses.loss import Batch, Labels, Output
from potstill.models.losses.schedule import Progress
from potstill.models.losses.stack import LossStack
from potstill.models.losses.token_kl import TokenKl
from potstill.models.trainers.settings import Compute, Optimizer
from potstill.models.trainers.step import Learner, Stepper, make_optimizer, wrapped
from potstill.models.trainers.step import whole as unsharded
from potstill.models.trainers.task import Task
from tests.ranks import WORLD

SAMPLES, WORDS, LENGTH = 8, 9, 6


def samples():
    """Token rows with answers of 0 to 4 words, and what a teacher says."""
    g = torch.Generator().manual_seed(3)
    words = torch.randint(0, WORDS, (SAMPLES, LENGTH), generator=g)
    lengths = torch.tensor([4, 1, 0, 3, 2, 4, 1, 2])
    target = words.masked_fill(torch.arange(LENGTH)[None] < LENGTH - lengths[:, None], -100)
    return {"words": words, "target": target, "teacher": torch.randn(SAMPLES, LENGTH, WORDS, generator=g)}


class Words(Task):
    """Predicts words from words."""

    def __init__(self):
        torch.manual_seed(5)
        self.student = nn.Sequential(nn.Embedding(WORDS, 12), nn.Linear(12, WORDS))

    def collate(self, rows):
        raise NotImplementedError

    def labels(self, inputs):
        target = inputs["target"]
        return Labels(len(target), target, {"response": target != -100})

    def see(self, student, inputs, needs):
        return Output(logits=student(inputs["words"]))

    def teach(self, inputs, needs):
        return (Output(logits=inputs["teacher"]),)

    def blocks(self):
        return (self.student[1],)

    def export(self, folder, weights):
        raise NotImplementedError


def gradients(strategy, rank, world, accumulation):
    """Loss and gradients after one step."""
    task, every = Words(), samples()
    mine = {name: x.chunk(world)[rank] for name, x in every.items()}
    micro = [{name: x.chunk(accumulation)[k] for name, x in mine.items()} for k in range(accumulation)]
    losses = (CrossEntropy(), TokenKl(weight=0.5))
    none = frozenset()
    example = Batch(task.see(task.student, micro[0], none), task.labels(micro[0]), task.teach(micro[0], none))
    compute = Compute(workers=world if strategy else 0, strategy=strategy or "ddp")
    model = wrapped(Learner(task, LossStack(losses, example), compute), task, compute, "cpu")
    optimizer = make_optimizer(Optimizer(kind="sgd", lr=1e-9), model)
    stepper = Stepper(model, task, optimizer, None, Group() if strategy else Alone(), "cpu")
    entry = stepper.step(micro, Progress(), 1.0, log=True)
    grads = {name.removeprefix("module."): p.grad for name, p in model.named_parameters()}
    whole = {name: g.full_tensor() if hasattr(g, "full_tensor") else g for name, g in grads.items()}
    with unsharded(model), torch.no_grad():
        said = model.student(samples()["words"]) if strategy == "fsdp" else None
    return entry, whole, said


def work(rank):
    """One process: DDP with two micro-batches, then FSDP2."""
    return {strategy: gradients(strategy, rank, WORLD, 2) for strategy in ("ddp", "fsdp")}
