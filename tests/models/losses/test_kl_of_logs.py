"""The written-out gradient of the divergence is that of its value, by both of its arguments."""

import torch

from potstill.models.losses.numerics import kl_of_logs


def drawn(seed):
    return torch.randn(3, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_gradients_by_both():
    # Any numbers may stand for logs, so that each can be moved alone.
    other, first = drawn(0).requires_grad_(), drawn(1).requires_grad_()
    assert torch.autograd.gradcheck(kl_of_logs, (other, first))
    assert torch.autograd.gradcheck(lambda x: kl_of_logs(x, first.detach()), (other,))
    assert torch.autograd.gradcheck(lambda x: kl_of_logs(other.detach(), x), (first,))


def test_classes_that_are_ruled_out_add_nothing():
    other, first = drawn(2), drawn(3)
    first[:, 2] = float("-inf")
    other[0, 2] = float("-inf")
    other.requires_grad_(), first.requires_grad_()
    values = kl_of_logs(other, first)
    values.sum().backward()
    kept = [0, 1, 3]
    torch.testing.assert_close(values, kl_of_logs(other[:, kept], first[:, kept]))
    assert not other.grad[:, 2].any() and not first.grad[:, 2].any() and first.grad.isfinite().all()
