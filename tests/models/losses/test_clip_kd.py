"""CLIP-KD: each term by hand or against its own loss, widths, the factor of its contrast."""

import math
from dataclasses import replace

import pytest
import torch

from potstill.models.losses.clip_affinity import ClipAffinity
from potstill.models.losses.clip_kd import ClipKd, feature_distance
from potstill.models.losses.info_nce import info_nce
from potstill.models.losses.loss import Batch, Labels, Output
from potstill.models.losses.numerics import unit
from tests.models.losses import batches


def built(loss, batch):
    torch.manual_seed(0)
    return loss.build(batch).double()


def test_two_pairs_by_hand():
    eye = torch.eye(2, dtype=torch.float64)
    student = Output(image=eye, text=torch.tensor([[1.0, 0], [0.6, 0.8]]).double(), scale=1.0)
    batch = Batch(student, Labels(2), (Output(image=eye, text=eye, scale=1.0),))
    loss = ClipKd()
    found = built(loss, batch)(batch)
    # fd: pictures agree; of the texts the second differs by (0.6, -0.2): 0.4 over 2 numbers and 2 rows.
    assert found["fd"].item() == pytest.approx(0.4 / 2 / 2)
    # icl with the factor 1 / 0.07: cosines of the pictures to the teacher's texts are the identity, those of the texts
    # to its pictures (1, 0), (0.6, 0.8).
    c = 1 / 0.07
    rows = [math.log1p(math.exp(-c))] * 3 + [math.log1p(math.exp(c * (0.6 - 0.8)))]
    assert found["icl"].item() == pytest.approx(sum(rows) / 4, rel=1e-6)
    assert found["ckd"].item() == pytest.approx(ClipAffinity().terms(batch)[""].item())


def test_the_published_factor_lacks_an_exp():
    batch = batches.pairs(teacher_width=batches.WIDTH)
    first, second = unit(batch.student.image), unit(batch.student.text)
    one, two = unit(batch.teacher.image), unit(batch.teacher.text)
    for published, factor in ((True, math.log(1 / 0.07)), (False, 1 / 0.07)):
        place = torch.arange(batches.ROWS)
        expected = info_nce(factor * first @ two.T, place) + info_nce(factor * second @ one.T, place)
        found = built(ClipKd(published_scale=published), batch)(batch)["icl"]
        assert found.item() == pytest.approx(expected.mean().item() / 2, rel=1e-6)


def test_maps_are_learnt_only_where_widths_differ():
    same, wider = batches.pairs(teacher_width=batches.WIDTH), batches.pairs()
    assert [name for name, _ in built(ClipKd(), same).named_parameters()] == ["scale"]
    heads = built(ClipKd(), wider)
    sum(heads(wider).values()).backward()
    assert {name for name, x in heads.named_parameters() if x.grad.any()} == {
        "scale", "maps.0.weight", "maps.0.bias", "maps.1.weight", "maps.1.bias"}  # fmt: skip
    assert heads.maps[0].weight.shape == (batches.WIDTH + 2, batches.WIDTH)


def test_a_student_like_its_teacher_has_no_distance_and_no_divergence():
    batch = batches.pairs()
    batch = replace(batch, teachers=(batch.student,))
    found = built(ClipKd(), batch)(batch)
    assert abs(found["ckd"].item()) < 1e-12 and found["fd"].item() < 1e-12 and found["icl"] > 0


def test_the_factor_stays_below_100_and_the_weights_are_the_papers():
    batch = batches.pairs(teacher_width=batches.WIDTH)
    heads = built(ClipKd(), batch)
    heads.scale.data.fill_(50)
    assert heads(batch)["icl"].isfinite() and heads(batch)["icl"] < 200
    assert ClipKd().weights() == {"clip_kd.ckd": 1.0, "clip_kd.icl": 1.0, "clip_kd.fd": 2000.0}


def test_distance_of_opposite_directions():
    one = torch.tensor([[1.0, 0, 0, 0]])
    assert feature_distance(one, -one).tolist() == [1.0]
