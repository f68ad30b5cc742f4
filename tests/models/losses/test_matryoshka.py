"""Losses at several widths: by hand, heads and embeddings, weights and counts, what is refused."""

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch.nn.functional import cross_entropy, normalize

from potstill.models.losses.logits import Hidden
from potstill.models.losses.loss import Batch, Labels, Output
from potstill.models.losses.registry import AnyLoss
from potstill.models.losses.schedule import Schedule
from potstill.models.losses.stack import LossStack
from tests.models.losses import batches


def recipe(inner, **how):
    return TypeAdapter(AnyLoss).validate_python({"kind": "matryoshka", "inner": inner, "widths": (2, 4)} | how)


def test_a_head_by_hand():
    # One row of ones; the head's second class gets 1 from the first dimension and 2 more from the second: logits
    # (0, 1) and (0, 3) for width 1 and 2, the target is the second class.
    hidden = Hidden(torch.ones(1, 2), torch.tensor([[0.0, 0.0], [1.0, 2.0]]))
    batch = Batch(Output(logits=hidden), Labels(1, torch.tensor([1])))
    terms = recipe({"kind": "cross_entropy"}, widths=(1, 2)).build(batch)(batch)
    assert terms["w1"].item() == pytest.approx(torch.log1p(torch.tensor(-1.0).exp()).item())
    assert terms["w2"].item() == pytest.approx(torch.log1p(torch.tensor(-3.0).exp()).item())


def head(rows=6, inputs=4, classes=5):
    g = torch.Generator().manual_seed(0)
    hidden = Hidden(*(batches.draw(g, *shape) for shape in ((rows, inputs), (classes, inputs), (classes,))))
    target = torch.randint(0, classes, (rows,), generator=g)
    target[-1] = -100
    return Batch(Output(logits=hidden), Labels(rows, target))


def test_all_widths_share_one_head():
    batch = head()
    h, weight, bias = batch.student.logits.h, batch.student.logits.weight, batch.student.logits.bias
    stack = LossStack([recipe({"kind": "cross_entropy", "weight": 0.5}, importance=(1, 3), weight=2)], batch)
    assert stack.counts(batch.labels) == {"matryoshka.w2": 5.0, "matryoshka.w4": 5.0}
    total = stack(batch, stack.counts(batch.labels))
    narrow, full = h[:, :2] @ weight[:, :2].T + bias, h @ weight.T + bias
    expected = cross_entropy(narrow, batch.labels.target) + 3 * cross_entropy(full, batch.labels.target)
    assert total.value.item() == pytest.approx(expected.item())
    total.value.backward()
    assert h.grad[:-1].any() and weight.grad.all() and not h.grad[-1].any()


def test_heads_over_tokens_are_cut_too():
    g = torch.Generator().manual_seed(0)
    hidden = Hidden(batches.draw(g, 3, 7, 4), batches.draw(g, 11, 4))
    batch = Batch(Output(logits=hidden), Labels(3, torch.randint(0, 11, (3, 7), generator=g)))
    loss = recipe({"kind": "cross_entropy"})
    full = cross_entropy((hidden.h @ hidden.weight.T).flatten(0, 1), batch.labels.target.flatten(), reduction="sum")
    assert loss.build(batch)(batch)["w4"].item() == pytest.approx(full.item())


def test_embeddings_are_cut_and_made_of_length_one_again():
    batch = batches.pairs(teachers=0)
    terms = recipe({"kind": "info_nce", "scale": 10}).build(batch)(batch)
    for width in (2, 4):
        image, text = (normalize(x[:, :width]) for x in (batch.student.image, batch.student.text))
        a, rows = 10 * image @ text.T, torch.arange(6)
        expected = (cross_entropy(a, rows) + cross_entropy(a.T, rows)) / 2
        assert terms[f"w{width}"].item() == pytest.approx(expected.item())


def test_named_features_and_parts_of_the_inner_loss():
    batch = batches.activations()
    loss = recipe({"kind": "rkd", "student": "pooled", "teacher": "deep"}, name="small")
    assert loss.parts == ("w2.distance", "w2.angle", "w4.distance", "w4.angle") and loss.per == "batch"
    assert loss.weights() == {
        "small.w2.distance": 25,
        "small.w2.angle": 50,
        "small.w4.distance": 25,
        "small.w4.angle": 50,
    }
    module = loss.build(batch)
    x = batch.student.features["pooled"]
    moved = batches.with_leaves(batch, batch.student.features | {"pooled": torch.cat([x[:, :2], 9 * x[:, 2:]], 1)})
    one, other = module(batch), module(moved)
    assert one["w2.angle"] == other["w2.angle"] and one["w4.angle"] != other["w4.angle"]


def test_each_width_has_modules_of_its_own_and_the_teacher_stays_whole_unless_told():
    batch = batches.activations()
    inner = {"kind": "fitnet", "student": "pooled", "teacher": "pooled"}
    shapes = [[tuple(x.weight.shape) for x in (one.regressor for one in recipe(inner, **how).build(batch).inner)]
              for how in ({}, {"cut_teacher": True})]  # fmt: skip
    assert shapes == [[(6, 2), (6, 4)], [(2, 2), (4, 4)]]
    stack = LossStack([recipe(inner)], batch).double()
    stack(batch, stack.counts(batch.labels)).value.backward()
    assert all(weight.grad.any() for weight in stack.parameters())


def test_counts_and_rows_are_the_inner_losss():
    batch = batches.dual()
    loss = recipe(
        {"kind": "dho", "weight": {"ce": 1, "kd": Schedule(kind="linear_warmup", value=2, length=4)}},
        widths=(2,),
        importance=(3,),
    )
    assert loss.counts(batch.labels) == {"matryoshka.w2.ce": 5.0, "matryoshka.w2.kd": 6.0}
    assert loss.weights()["matryoshka.w2.kd"].value == 6
    masked = recipe({"kind": "cross_entropy", "mask": "labelled"})
    assert masked.valid(batch.labels).sum() == 5 and masked.count(batch.labels) == 5


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"inner": {"kind": "matryoshka", "inner": {"kind": "cross_entropy"}, "widths": (2,)}}, "no other inside"),
        ({"inner": {"kind": "cross_entropy"}, "mask": "some"}, "a mask belongs to the inner"),
        ({"inner": {"kind": "cross_entropy"}, "widths": (2, 2)}, "a width twice"),
        ({"inner": {"kind": "cross_entropy"}, "importance": (1,)}, "not as many"),
        ({"inner": {"kind": "no_such"}}, "no_such"),
    ],
)
def test_what_makes_no_sense_is_refused(how, says):
    with pytest.raises(ValidationError, match=says):
        recipe(**{"inner": {"kind": "cross_entropy"}} | how)


def test_what_cannot_be_cut_is_named():
    with pytest.raises(ValueError, match=r"first 9 .* image is \(6, 4\)"):
        LossStack([recipe({"kind": "info_nce"}, widths=(4, 9))], batches.pairs())
    with pytest.raises(ValueError, match="student gives logits"):
        LossStack([recipe({"kind": "cross_entropy"})], batches.classes())
    with pytest.raises(ValueError, match="first 9 dimensions of a head that has 4"):
        LossStack([recipe({"kind": "cross_entropy"}, widths=(9,))], head())
    with pytest.raises(ValueError, match=r"features.deep is \(6, 3, 2, 2\)"):
        LossStack([recipe({"kind": "pkt", "student": "deep", "teacher": "deep"})], batches.activations())


def test_settings_survive_being_written():
    loss = recipe({"kind": "crd", "student": "pooled", "teacher": "pooled", "width": 3})
    assert TypeAdapter(AnyLoss).validate_python(loss.model_dump(mode="json")) == loss
