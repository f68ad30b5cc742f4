"""Micro-batches with known shapes for the tests of losses; students want a gradient, teachers would take one."""

from dataclasses import replace

import torch

from potstill.models.losses.logits import TopK
from potstill.models.losses.loss import Batch, Labels, Output

ROWS, CLASSES, WIDTH, LENGTH, WORDS = 6, 5, 4, 7, 11


def draw(generator, *shape, dtype=torch.float64):
    """Numbers that want a gradient."""
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()


def classes(seed=0, rows=ROWS, teachers=1, dtype=torch.float64):
    """Logits over classes, the last row without a label."""
    g = torch.Generator().manual_seed(seed)
    target = torch.randint(0, CLASSES, (rows,), generator=g)
    target[-1] = -100
    student = Output(logits=draw(g, rows, CLASSES, dtype=dtype))
    others = tuple(Output(logits=draw(g, rows, CLASSES, dtype=dtype)) for _ in range(teachers))
    return Batch(student, Labels(rows, target, {"labelled": target != -100}), others)


def dual(seed=0, rows=ROWS, teachers=1, dtype=torch.float64):
    """As :func:`classes`, with a second head of the student."""
    batch = classes(seed, rows, teachers, dtype)
    heads = {"kd_logits": draw(torch.Generator().manual_seed(seed + 1), rows, CLASSES, dtype=dtype)}
    return replace(batch, student=replace(batch.student, features=heads))


def pairs(seed=0, rows=ROWS, teachers=1, dtype=torch.float64, width=WIDTH, teacher_width=WIDTH + 2):
    """Embeddings of pictures and texts, with a factor and an offset."""
    g = torch.Generator().manual_seed(seed)

    def output(size):
        scale, bias = (torch.tensor(x, dtype=dtype, requires_grad=True) for x in (10.0, -1.0))
        return Output(
            image=draw(g, rows, size, dtype=dtype), text=draw(g, rows, size, dtype=dtype), scale=scale, bias=bias
        )

    return Batch(output(width), Labels(rows), tuple(output(teacher_width) for _ in range(teachers)))


def tokens(seed=0, rows=ROWS, teachers=1, dtype=torch.float64):
    """Logits over words; targets from a random place on, as answers are; the pictures' positions before them."""
    g = torch.Generator().manual_seed(seed)
    target = torch.randint(0, WORDS, (rows, LENGTH), generator=g)
    starts = torch.randint(2, LENGTH - 1, (rows, 1), generator=g)
    places = torch.arange(LENGTH)[None]
    target = target.masked_fill(places < starts, -100)
    masks = {"response": target != -100, "vision": places.expand(rows, -1) < 2}
    student = Output(logits=draw(g, rows, LENGTH, WORDS, dtype=dtype))
    others = tuple(Output(logits=draw(g, rows, LENGTH, WORDS, dtype=dtype)) for _ in range(teachers))
    return Batch(student, Labels(rows, target, masks), others)


def activations(seed=0, rows=ROWS, teachers=1, dtype=torch.float64):
    """Maps of two sizes, tokens, and vectors, of other widths for the teacher."""
    g = torch.Generator().manual_seed(seed)

    def output(more):
        shapes = {"shallow": (2 + more, 4, 4), "deep": (3 + more, 2, 2), "tokens": (LENGTH, WIDTH + more),
                  "pooled": (WIDTH + more,), "other": (WIDTH + more,)}  # fmt: skip
        return Output(features={name: draw(g, rows, *shape, dtype=dtype) for name, shape in shapes.items()})

    return Batch(output(0), Labels(rows), tuple(output(2) for _ in range(teachers)))


def candidates(seed=0, rows=ROWS, dtype=torch.float64, count=4):
    """Pictures with candidates of their own, and how a judge scores these."""
    g = torch.Generator().manual_seed(seed)
    scores = torch.rand(rows, count, generator=g, dtype=torch.float64)
    student = Output(
        image=draw(g, rows, WIDTH, dtype=dtype), features={"candidates": draw(g, rows, count, WIDTH, dtype=dtype)}
    )
    return Batch(student, Labels(rows), (Output(logits=scores.to(dtype)),))


def topk(seed=0, rows=ROWS, k=4, temperature=1.0, dtype=torch.float64):
    """As :func:`tokens`, with a teacher of whom only the best words were cached."""
    batch = tokens(seed, rows, dtype=dtype)
    logp, idx = (batch.teacher.logits.double() / temperature).log_softmax(-1).topk(k)
    cached = Output(logits=TopK(idx.int(), logp.to(dtype), temperature, WORDS))
    return replace(batch, teachers=(cached,))


def leaves(batch):
    """Every tensor of the student that may get a gradient, by name."""
    student = batch.student
    named = {"logits": student.logits, "image": student.image, "text": student.text, "scale": student.scale,
             "bias": student.bias, **student.features}  # fmt: skip
    return {name: x for name, x in named.items() if isinstance(x, torch.Tensor)}


def with_leaves(batch, values):
    """The batch with the student's tensors replaced."""
    own = {name: x for name, x in values.items() if name in Output.__slots__}
    features = {name: x for name, x in values.items() if name not in own}
    return replace(batch, student=replace(batch.student, features=features or batch.student.features, **own))
