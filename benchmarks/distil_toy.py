"""What each loss on logits is worth to a small student, at its published weights and at others.

    python -m benchmarks.distil_toy [--settings A1 A2 A3 cached] [--seeds 6]

60 classes in 10 groups, 40 numbers a row, drawn around centres and bent by a fixed network. A teacher with two hidden
layers of 256 sees many rows, a student with one small hidden layer a random subset of them, 30 epochs. Everything but
the losses is the same for all rows of a table: data, teacher, subsets, first weights, order, SGD with momentum 0.9,
weight decay 5e-4, one cycle of the learning rate up to 0.05, batches of 60. Students of all losses and seeds are
trained at once, as one batched matrix product. Prints a Markdown table: test accuracy in per cent, mean and standard
deviation over seeds. About three minutes of processor time.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import SGD
from torch.optim.lr_scheduler import OneCycleLR

from potstill.models.losses.cross_entropy import CrossEntropy
from potstill.models.losses.dist import Dist
from potstill.models.losses.dkd import Dkd
from potstill.models.losses.kd import Kd
from potstill.models.losses.logits import TopK
from potstill.models.losses.loss import Batch, Labels, Loss, Output
from potstill.models.losses.numerics import log_probs
from potstill.models.losses.schedule import Progress, Schedule
from potstill.models.losses.stack import LossStack
from potstill.models.losses.topk_kl import TopkKl

GROUPS, PER_GROUP, WIDTH, BENT = 10, 6, 40, 128
CLASSES = GROUPS * PER_GROUP
RATE, EPOCHS, BATCH, TEST_ROWS, HEAT = 0.05, 30, 60, 4000, 4.0


@dataclass(frozen=True)
class Setting:
    """How hard it is, and how small the student is."""

    noise: float
    """Standard deviation of a row around the centre of its class, before it is bent."""
    teacher_rows: int
    hidden: int
    rows: int


SPREAD = 0.73
"""Standard deviation of a class's centre around that of its group, groups being 1 apart. Chosen, as the noise is, so
that the teachers reach some 98 and 86 per cent."""
EASY = Setting(noise=0.71, teacher_rows=12000, hidden=24, rows=1800)
HARD = Setting(noise=1.25, teacher_rows=15000, hidden=16, rows=1200)


@dataclass(frozen=True)
class Task:
    """Rows, their classes, and what the teacher says about them."""

    x: Tensor
    y: Tensor
    teacher: Tensor
    test_x: Tensor
    test_y: Tensor
    teacher_accuracy: float


@dataclass(frozen=True)
class Arm:
    """A row of the table."""

    losses: tuple[Loss, ...]
    rate: float = RATE
    best: int = 0
    """So many of the teacher's classes, as a cache holds them at temperature 4; 0: all logits."""


def draw(setting: Setting, rows: int, seed: int) -> tuple[Tensor, Tensor]:
    """Rows (N, 40) and classes (N,); centres and bend are the same for every seed and setting."""
    fixed = torch.Generator().manual_seed(0)
    groups = torch.randn(GROUPS, WIDTH, generator=fixed).repeat_interleave(PER_GROUP, 0)
    centres = groups + SPREAD * torch.randn(CLASSES, WIDTH, generator=fixed)
    bend = torch.randn(WIDTH, BENT, generator=fixed) / math.sqrt(WIDTH)
    back = torch.randn(BENT, WIDTH, generator=fixed) / math.sqrt(BENT)
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(CLASSES, (rows,), generator=g)
    x = centres[y] + setting.noise * torch.randn(rows, WIDTH, generator=g)
    return torch.tanh(x @ bend) @ back, y


def task(setting: Setting, epochs: int = 24) -> Task:
    """The data of a setting and a teacher trained on it, on batches of 500."""
    x, y = draw(setting, setting.teacher_rows, 1)
    test_x, test_y = draw(setting, TEST_ROWS, 2)
    torch.manual_seed(3)
    net = nn.Sequential(nn.Linear(WIDTH, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, CLASSES))
    size, rate = 500, 2 * RATE
    optimiser = SGD(net.parameters(), rate, momentum=0.9, weight_decay=5e-4)
    steps = len(x) // size
    cycle = OneCycleLR(optimiser, rate, epochs * steps, cycle_momentum=False)
    for _ in range(epochs):
        for rows in torch.randperm(len(x))[: steps * size].view(steps, size):
            optimiser.zero_grad()
            nn.functional.cross_entropy(net(x[rows]), y[rows]).backward()
            optimiser.step()
            cycle.step()
    with torch.no_grad():
        right = (net(test_x).argmax(-1) == test_y).float().mean().item()
        return Task(x, y, net(x), test_x, test_y, 100 * right)


def accuracies(
    setting: Setting, task: Task, arms: Mapping[str, Arm], seeds: int, epochs: int = EPOCHS
) -> dict[str, list[float]]:
    """Test accuracy in per cent of each arm, by seed. Arms share first weights, subsets and orders."""
    found = {}
    for rate in {arm.rate for arm in arms.values()}:
        some = {name: arm for name, arm in arms.items() if arm.rate == rate}
        found |= dict(zip(some, _trained(setting, task, list(some.values()), seeds, rate, epochs), strict=True))
    return {name: found[name] for name in arms}


def _trained(
    setting: Setting, task: Task, arms: Sequence[Arm], seeds: int, rate: float, epochs: int
) -> list[list[float]]:
    g = torch.Generator().manual_seed(4)
    weights = [_first(seeds, len(arms), inner, outer, g) for inner, outer in
               ((WIDTH, setting.hidden), (1, setting.hidden), (setting.hidden, CLASSES), (1, CLASSES))]  # fmt: skip
    subsets = torch.stack([torch.randperm(len(task.x), generator=g)[: setting.rows] for _ in range(seeds)])
    optimiser = SGD(weights, rate, momentum=0.9, weight_decay=5e-4)
    steps = setting.rows // BATCH
    cycle = OneCycleLR(optimiser, rate, epochs * steps, cycle_momentum=False)
    stacks: dict[int, LossStack] = {}
    for epoch in range(1, epochs + 1):
        order = torch.stack([rows[torch.randperm(setting.rows, generator=g)] for rows in subsets])
        for rows in order.view(seeds, steps, BATCH).unbind(1):
            logits = _logits(weights, task.x[rows].repeat(len(arms), 1, 1)).view(len(arms), seeds, BATCH, CLASSES)
            value = torch.zeros(())
            for number, arm in enumerate(arms):
                for batch in _batches(arm, logits[number], task.teacher[rows], task.y[rows], Progress(epoch=epoch)):
                    if number not in stacks:
                        stacks[number] = LossStack(arm.losses, batch)
                    stack = stacks[number]
                    value = value + stack(batch, stack.counts(batch.labels)).value * (batch.labels.size / BATCH)
            optimiser.zero_grad()
            value.backward()
            optimiser.step()
            cycle.step()
    with torch.no_grad():
        said = _logits(weights, task.test_x.expand(len(arms) * seeds, -1, -1)).argmax(-1)
        return (100 * (said == task.test_y).float().mean(-1)).view(len(arms), seeds).tolist()


def _first(seeds: int, arms: int, inner: int, outer: int, g: torch.Generator) -> Tensor:
    """Weights (arms x seeds, inner, outer), equal for every arm; biases, which have no inner, start at 0."""
    bound = 0.0 if inner == 1 else math.sqrt(1 / inner)
    values = (2 * torch.rand(seeds, inner, outer, generator=g) - 1) * bound
    return values.repeat(arms, 1, 1).requires_grad_()


def _logits(weights: Sequence[Tensor], x: Tensor) -> Tensor:
    hidden = torch.baddbmm(weights[1], x, weights[0]).relu()
    return torch.baddbmm(weights[3], hidden, weights[2])


def _taught(teacher: Tensor, best: int) -> Output:
    if not best:
        return Output(teacher)
    logp, idx = log_probs(teacher, HEAT).topk(best, -1)
    return Output(TopK(idx, logp, HEAT, CLASSES))


def _batches(arm: Arm, logits: Tensor, teacher: Tensor, target: Tensor, progress: Progress) -> list[Batch]:
    """One batch of all seeds' rows; or one for each seed where a loss is a relation between rows."""
    whole = all(loss.per != "batch" for loss in arm.losses)
    parts = [slice(None)] if whole else [slice(seed, seed + 1) for seed in range(len(logits))]
    return [
        Batch(
            Output(logits[part].flatten(0, 1)), Labels(target[part].numel(), target[part].flatten()),
            (_taught(teacher[part].flatten(0, 1), arm.best),), progress,
        )
        for part in parts
    ]  # fmt: skip


def _dkd(tckd: float, nckd: float, epochs: int = 5) -> Dkd:
    def warm(value: float) -> Schedule:
        return Schedule(kind="linear_warmup", value=value, unit="epoch", length=epochs)

    return Dkd(weight={"tckd": warm(tckd), "nckd": warm(nckd)})


CE = CrossEntropy()
KD_PAPER = Arm((CrossEntropy(weight=0.1), Kd(weight=0.9)))
KD_ONES = Arm((CE, Kd()))
Z_SCORE = Arm((CrossEntropy(weight=0.1), Kd(temperature=2, standardise=True, weight=9)))

A1 = {
    "CE": Arm((CE,)),
    "CE, label smoothing 0.1": Arm((CrossEntropy(label_smoothing=0.1),)),
    "KD 0.5/0.5, T 1": Arm((CrossEntropy(weight=0.5), Kd(temperature=1, weight=0.5))),
    "TCKD only": Arm((CE, _dkd(1, 0))),
    "CE + 2 DIST": Arm((CE, Dist(weight=2))),
    "KD z-score 0.1/9, T 2": Z_SCORE,
    "NCKD only": Arm((CE, _dkd(0, 1))),
    "KD 0.1/0.9": KD_PAPER,
    "KD 1/1": KD_ONES,
    **{f"DKD beta {beta}": Arm((CE, _dkd(1, beta))) for beta in (1, 2, 8)},
    "DKD beta 8, no warm-up": Arm((CE, Dkd(weight={"tckd": 1.0, "nckd": 8.0}))),
}
A2 = {
    "CE": Arm((CE,)),
    "CE + DIST": Arm((CE, Dist())),
    "KD z-score 0.1/9, T 2": Z_SCORE,
    "KD 0.1/0.9": KD_PAPER,
    "KD 1/1": KD_ONES,
    **{f"DKD beta {beta}": Arm((CE, _dkd(1, beta))) for beta in (1, 2, 8)},
    "mistake: KD 0.1/0.9 without T squared": Arm((CrossEntropy(weight=0.1), Kd(weight=0.9, t_squared=False))),
    "mistake: KD 0.1/0.9, mean over classes": Arm((CrossEntropy(weight=0.1), Kd(weight=0.9 / CLASSES))),
}
A3 = {
    **{f"CE + {weight} KD": Arm((CE, Kd(weight=weight))) for weight in (1, 2, 4, 8)},
    **{f"DKD beta {beta}": Arm((CE, _dkd(1, beta))) for beta in (1, 2, 4, 8)},
    "CE, 3 times the learning rate": Arm((CE,), rate=3 * RATE),
    "KD only": Arm((Kd(),)),
    "KD z-score 0.1/30, T 2": Arm((CrossEntropy(weight=0.1), Kd(temperature=2, standardise=True, weight=30))),
    "CE + 10 DIST, T 1": Arm((CE, Dist(weight=10))),
    "CE + 10 DIST, T 4": Arm((CE, Dist(weight=10, temperature=4))),
    "CE + 2 DIST, T 4, times T squared": Arm((CE, Dist(weight=2, temperature=4, t_squared=True))),
}
CACHED = {
    f"0.1/0.9, best {best}, {tail}": Arm((CrossEntropy(weight=0.1), TopkKl(tail=tail, weight=0.9 * HEAT**2)), best=best)
    for tail in ("renormalise", "bucket", "smear")
    for best in (1, 5, 10)
}
TABLES = {"A1": (EASY, A1), "A2": (HARD, A2), "A3": (HARD, A3), "cached": (HARD, CACHED)}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--settings", nargs="+", choices=list(TABLES), default=list(TABLES))
    parser.add_argument("--seeds", type=int, default=6)
    args = parser.parse_args()
    torch.set_num_threads(1)
    tasks: dict[Setting, Task] = {}
    for name in args.settings:
        setting, arms = TABLES[name]
        if setting not in tasks:
            tasks[setting] = task(setting)
        data = tasks[setting]
        print(f"\n{name}: {setting.hidden} hidden, {setting.rows} rows, teacher {data.teacher_accuracy:.2f}\n")
        print("| losses | accuracy |\n| --- | --- |")
        for arm, values in accuracies(setting, data, arms, args.seeds).items():
            found = torch.tensor(values)
            print(f"| {arm} | {found.mean():.2f} ± {found.std():.2f} |", flush=True)


if __name__ == "__main__":
    main()
