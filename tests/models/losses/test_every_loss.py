"""What must hold for every loss, whatever it computes."""

from dataclasses import replace
from functools import partial
from typing import get_args

import pytest
import torch

from potstill.models.losses.registry import AnyLoss
from potstill.models.losses.stack import LossStack
from tests.models.losses import batches

KINDS = {loss.model_fields["kind"].default: loss for loss in get_args(get_args(AnyLoss)[0])}
CASES = {
    "cross_entropy": ({}, batches.classes),
    "kd": ({}, batches.classes),
    "dho": ({}, batches.dual),
    "dist": ({}, batches.classes),
    "dkd": ({}, batches.classes),
    "ensemble": ({"shares": (1.0, 2.0, 1.0)}, partial(batches.classes, teachers=3)),
    "mlkd": ({}, batches.classes),
    "multi_aspect_bce": ({}, batches.classes),
    "albef": ({"queue": 8}, partial(batches.pairs, teacher_width=batches.WIDTH)),
    "clip_affinity": ({}, partial(batches.pairs, teachers=2)),
    "clip_kd": ({}, batches.pairs),
    "dcl": ({"sigma": 0.5}, batches.pairs),
    "info_nce": ({}, batches.pairs),
    "nt_xent": ({}, batches.pairs),
    "score_matching": ({}, batches.candidates),
    "siglip": ({}, batches.pairs),
    "attention_transfer": ({"student": "deep", "teacher": "shallow"}, batches.activations),
    "barlow_twins": ({"views": ("pooled", "other")}, batches.activations),
    "crd": ({"student": "pooled", "teacher": "deep", "width": 8, "queue": 4}, batches.activations),
    "fitnet": ({"student": "shallow", "teacher": "deep", "norm_relu": True}, batches.activations),
    "pkt": ({"student": "deep", "teacher": "pooled"}, batches.activations),
    "review_kd": ({"student": ("shallow", "deep"), "teacher": ("shallow", "deep")}, batches.activations),
    "rkd": ({"student": "pooled", "teacher": "deep"}, batches.activations),
    "similarity_preserving": ({"student": "deep", "teacher": "pooled"}, batches.activations),
    "vicreg": ({}, batches.pairs),
    "dpo": ({}, batches.tokens),
    "gram_relation": ({}, batches.tokens),
    "llava_kd": ({}, batches.tokens),
    "llava_mod_preference": ({}, batches.tokens),
    "token_kl": ({}, batches.tokens),
    "topk_kl": ({}, batches.topk),
    "matryoshka": ({"inner": {"kind": "info_nce"}, "widths": (2, 4)}, batches.pairs),
}
"""By kind: settings for the test, and the micro-batch."""


def case(kind, **how):
    settings, make = CASES[kind]
    return KINDS[kind](**settings), make(**how)


def value(loss, batch, built=None):
    """The unweighted sums, and the module that gave them."""
    double = next(iter(batches.leaves(batch).values())).dtype == torch.float64
    built = built or loss.build(batch).to(torch.float64 if double else torch.float32)
    return sum(built(batch).values()), built


def test_every_kind_has_a_case():
    assert set(CASES) == set(KINDS)


@pytest.mark.parametrize("kind", CASES)
def test_a_loss_gives_its_parts_as_finite_scalars(kind):
    loss, batch = case(kind)
    terms = loss.build(batch).double()(batch)
    assert tuple(terms) == (*(loss.parts or ("",)), *loss.logged)
    assert all(term.shape == () and term.isfinite() for term in terms.values())
    assert all(term.requires_grad == (part not in loss.logged) for part, term in terms.items())


@pytest.mark.parametrize("kind", CASES)
def test_the_gradient_is_that_of_the_value(kind):
    loss, batch = case(kind)
    torch.manual_seed(0)
    _, built = value(loss, batch)
    built.eval()
    leaves = batches.leaves(batch)

    def of(*values):
        return value(loss, batches.with_leaves(batch, dict(zip(leaves, values, strict=True))), built)[0]

    assert torch.autograd.gradcheck(of, tuple(leaves.values()), eps=1e-6, atol=1e-5)


@pytest.mark.parametrize("kind", CASES)
def test_no_gradient_reaches_a_teacher(kind):
    loss, batch = case(kind)
    value(loss, batch)[0].backward()
    for teacher in batch.teachers:
        given = (teacher.logits, teacher.image, teacher.text, teacher.scale, *teacher.features.values())
        assert all(getattr(x, "grad", None) is None for x in given)


@pytest.mark.parametrize("kind", CASES)
def test_bfloat16_costs_little(kind):
    loss, batch = case(kind)
    torch.manual_seed(0)
    exact = value(loss, batch)[0].item()
    torch.manual_seed(0)
    rough = value(loss, case(kind, dtype=torch.bfloat16)[1])[0]
    assert rough.dtype == torch.float32
    assert abs(rough.item() - exact) <= 0.03 * max(abs(exact), 1.0)


@pytest.mark.parametrize("kind", [kind for kind in CASES if case(kind)[0].per != "batch"])
def test_rows_that_do_not_count_have_no_part(kind):
    loss, batch = case(kind)
    valid = loss.valid(batch.labels)
    empty = replace(batch.labels, masks={**batch.labels.masks, "none": torch.zeros_like(valid)})
    loss, batch = loss.model_copy(update={"mask": "none"}), replace(batch, labels=empty)
    total, _ = value(loss, batch)
    total.backward()
    assert total == 0 and loss.count(batch.labels) == 0
    assert all(x.grad is None or not x.grad.any() for x in batches.leaves(batch).values())


@pytest.mark.parametrize("kind", [kind for kind in CASES if case(kind)[0].per != "batch"])
def test_a_sum_over_rows_is_the_sum_of_its_parts(kind):
    loss, batch = case(kind)
    _, built = value(loss, batch)
    built.eval()  # a batch normalisation relates rows while training
    one = loss.model_copy(update={"mask": "one"})
    valid = loss.valid(batch.labels)
    total, count = 0.0, 0.0
    for row in range(batch.labels.size):
        mask = torch.zeros_like(valid)
        mask[row] = valid[row]
        part = replace(batch, labels=replace(batch.labels, masks={**batch.labels.masks, "one": mask}))
        built_one = one.build(part).double()
        built_one.load_state_dict(built.state_dict())
        built_one.eval()
        total, count = total + value(one, part, built_one)[0].item(), count + one.count(part.labels)
    assert total == pytest.approx(value(loss, batch, built)[0].item(), abs=1e-9)
    assert count == loss.count(batch.labels)


@pytest.mark.parametrize("kind", CASES)
def test_what_a_loss_needs_is_checked_by_name(kind):
    loss, batch = case(kind)
    assert loss.needs()
    LossStack([loss], batch)
    if any(need.startswith("teacher") for need in loss.needs()):
        with pytest.raises(ValueError, match=rf"{loss.title}.*needs.*teacher"):
            LossStack([loss], replace(batch, teachers=()))
