"""What a rank does in the test of several: a step of a CLIP with the same eight pairs, cut in another way."""

import torch

from potstill.models.losses.comm import Alone, Group
from potstill.models.losses.loss import Batch
from potstill.models.losses.schedule import Progress
from potstill.models.losses.stack import LossStack
from potstill.models.trainers.launch import validate_recipe
from potstill.models.trainers.settings import Compute, Optimizer
from potstill.models.trainers.step import Learner, Stepper, make_optimizer, needs_of, wrapped
from tests.models.trainers.clip_world import STUDENT, recipe
from tests.ranks import WORLD

LOSSES = [{"kind": "info_nce"}, {"kind": "clip_affinity"}, {"kind": "clip_kd", "weight": {"ckd": 1, "icl": 1, "fd": 9}}]
CONFIG = STUDENT | {"text_cfg": STUDENT["text_cfg"] | {"vocab_size": 50}}


def pairs():
    """Eight pictures and texts, two of one group, and a teacher of another width."""
    g = torch.Generator().manual_seed(3)
    image, text = torch.randn(2, 8, 20, generator=g)
    return {
        "pixels": torch.randint(256, (8, 3, 48, 48), generator=g, dtype=torch.uint8),
        "tokens/text": torch.randint(50, (8, 32), generator=g),
        "group": torch.tensor([1, 2, 3, 4, 5, 6, 2, 8]),
        "stored/0/image": image, "stored/0/text": text, "stored/0/scale": torch.full((8,), 20.0),
    }  # fmt: skip


def gradients(strategy, rank, world):
    """Losses and gradients after one step."""
    changes = {"network": {"architecture": "ViT-B-32", "config": CONFIG}, "losses": LOSSES}
    told = validate_recipe(recipe("nowhere", **changes, teacher_columns={"image": "a", "text": "b"}), "recipe")
    torch.manual_seed(5)
    task = told.build()
    mine = {name: x.chunk(world)[rank] for name, x in pairs().items()}
    none = frozenset()
    example = Batch(task.see(task.student, mine, none), task.labels(mine), task.teach(mine, none))
    torch.manual_seed(6)
    learner = Learner(task, LossStack(told.losses, example), Compute(workers=world if strategy else 0))
    compute = Compute(workers=world if strategy else 0, strategy=strategy or "ddp")
    model = wrapped(learner, task, compute, "cpu")
    assert needs_of(learner.losses) and len(task.blocks()) == 2
    stepper = Stepper(model, task, make_optimizer(Optimizer(kind="sgd", lr=1e-9), model), None,
                      Group() if strategy else Alone(), "cpu")  # fmt: skip
    entry = stepper.step([mine], Progress(), 1.0, log=True)
    grads = {name.removeprefix("module."): p.grad for name, p in model.named_parameters()}
    return entry, {name: g.full_tensor() if hasattr(g, "full_tensor") else g for name, g in grads.items()}


def work(rank):
    """One process: DDP, then FSDP2."""
    return {strategy: gradients(strategy, rank, WORLD) for strategy in ("ddp", "fsdp")}
