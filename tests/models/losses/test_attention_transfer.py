"""Attention transfer: by hand, what it does not see, sizes."""

import pytest
import torch

from potstill.models.losses.attention_transfer import AttentionTransfer, attention, attention_transfer
from tests.models.losses import batches


def test_by_hand():
    # Squares [9, 16] have length sqrt(337); one channel of the teacher's two is 0, the other looks right alone.
    student, teacher = torch.tensor([[[[3.0, -4.0]]]]), torch.tensor([[[[0.0, 5.0]], [[0.0, 0.0]]]])
    left, right = 9 / 337**0.5, 16 / 337**0.5
    assert attention(student)[0].tolist() == pytest.approx([left, right])
    assert attention_transfer(student, teacher).item() == pytest.approx((left**2 + (1 - right) ** 2) / 2)
    assert attention(student, power=1)[0].tolist() == pytest.approx([0.6, 0.8])


def test_channels_signs_and_scale_are_not_seen():
    x = torch.randn(3, 4, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    other = -7 * x[:, [2, 0, 3, 1]]
    assert attention_transfer(x, torch.cat([other, other], 1)).tolist() == pytest.approx([0, 0, 0], abs=1e-20)


def test_the_larger_map_is_averaged_to_the_smaller():
    small = torch.rand(2, 3, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    large = small.repeat_interleave(4, 2).repeat_interleave(2, 3)
    for one, other in ((small, large), (large, small)):
        assert attention_transfer(one, other).tolist() == pytest.approx([0, 0], abs=1e-20)


def test_tokens_are_positions_and_other_shapes_are_refused():
    x = torch.randn(2, 7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert attention_transfer(x, torch.cat([x, x], 2)).tolist() == pytest.approx([0, 0], abs=1e-20)
    for other in (x[:, :6], x[:, 0], x[..., None]):
        with pytest.raises(ValueError, match="attention_transfer compares maps"):
            attention_transfer(x, other)


def test_dead_and_huge_maps_have_finite_gradients():
    student = torch.stack([torch.zeros(2, 3, 3), 1e4 * torch.eye(3).expand(2, 3, 3)]).requires_grad_()
    loss = AttentionTransfer(student="deep", teacher="deep")
    batch = batches.with_leaves(batches.activations(rows=2, dtype=torch.float32), {"deep": student})
    loss.terms(batch)[""].backward()
    assert loss.terms(batch)[""].isfinite() and student.grad.isfinite().all()
