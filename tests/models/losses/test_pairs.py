"""Which rows count in a loss of pairs: masks, weights, groups, names of embeddings."""

import pytest
import torch

from potstill.models.losses.dcl import Dcl
from potstill.models.losses.info_nce import InfoNce, info_nce
from potstill.models.losses.loss import Batch, Labels, Output
from potstill.models.losses.numerics import unit
from potstill.models.losses.stack import LossStack
from tests.models.losses import batches


def similarity(batch):
    return (batch.student.scale * unit(batch.student.image) @ unit(batch.student.text).T).detach()


def labelled(batch, **labels):
    return Batch(batch.student, Labels(batches.ROWS, **labels), batch.teachers)


def test_masked_rows_are_neither_rows_nor_columns():
    batch = batches.pairs()
    mask = torch.tensor([True, False, True, True, False, True])
    found = InfoNce(mask="good").terms(labelled(batch, masks={"good": mask}))[""]
    few = similarity(batch)[mask][:, mask]
    place = torch.arange(4)
    assert found.item() == pytest.approx((info_nce(few, place) + info_nce(few.T, place)).mean().item() / 2)


def test_no_row_at_all_is_0_with_no_gradient():
    batch = labelled(batches.pairs(), masks={"none": torch.zeros(batches.ROWS, dtype=torch.bool)})
    found = InfoNce(mask="none").terms(batch)[""]
    found.backward()
    assert found == 0 and not batch.student.image.grad.any()


def test_weights_of_rows_weigh_rows_and_leave_columns():
    batch = batches.pairs()
    weight = torch.tensor([1.0, 0, 2, 0, 0, 1])
    found = InfoNce().terms(labelled(batch, weight=weight))[""]
    sims, place = similarity(batch), torch.arange(batches.ROWS)
    rows = (info_nce(sims, place) + info_nce(sims.T, place)) / 2
    assert found.item() == pytest.approx(((rows[0] + 2 * rows[2] + rows[5]) / 4).item())


def test_rows_of_a_group_are_no_negatives_of_each_other():
    batch = batches.pairs(rows=3)
    grouped = Batch(batch.student, Labels(3, group=torch.tensor([7, 1, 7])))
    a = similarity(batch)
    ways = [[(a[0, 0], a[0, 1]), (a[1, 0], a[1, 1], a[1, 2]), (a[2, 1], a[2, 2])],
            [(a[0, 0], a[1, 0]), (a[0, 1], a[1, 1], a[2, 1]), (a[1, 2], a[2, 2])]]  # fmt: skip
    expected = sum(torch.stack(row).logsumexp(0) - a[i, i] for way in ways for i, row in enumerate(way)) / 6
    assert InfoNce().terms(grouped)[""].item() == pytest.approx(expected.item())


def test_groups_of_one_change_nothing():
    batch = batches.pairs()
    grouped = labelled(batch, group=torch.arange(batches.ROWS) * 3)
    assert InfoNce().terms(grouped)[""] == InfoNce().terms(batch)[""]


def test_embeddings_are_named_and_missing_ones_are_said():
    batch = batches.pairs()
    image, text = batch.student.image, batch.student.text
    views = Batch(Output(features={"one": image, "two": text}), Labels(batches.ROWS))
    named = Dcl(first="one", second="two")
    assert named.terms(views)[""] == Dcl().terms(batch)[""]
    assert named.needs() == {"student.features.one", "student.features.two"}
    with pytest.raises(ValueError, match=r"'dcl' needs student\.features\.three"):
        LossStack([Dcl(first="one", second="three")], views)
