"""Stand-ins for logits: rows by mask and slice, no gradient where none is wanted."""

import pytest
import torch

from potstill.models.losses.logits import Hidden, TopK, vocabulary


def test_hidden_states_become_logits_of_the_chosen_rows():
    h, weight, bias = (torch.randn(*shape, requires_grad=True) for shape in ((2, 3, 4), (7, 4), (7,)))
    hidden, mask = Hidden(h, weight, bias), torch.tensor([[True, False, True], [False, False, True]])
    torch.testing.assert_close(hidden[mask].dense(), (h @ weight.T + bias)[mask])
    torch.testing.assert_close(hidden[mask][1:].dense(), (h @ weight.T + bias)[mask][1:])
    fixed = hidden.detach()
    assert not (fixed.h.requires_grad or fixed.weight.requires_grad or fixed.bias.requires_grad)
    assert vocabulary(hidden) == 7 and hidden.device == h.device
    assert Hidden(h.bfloat16(), weight).dense().dtype == torch.bfloat16


def test_best_classes_are_chosen_with_their_numbers():
    logp, idx = torch.randn(2, 3, 7).log_softmax(-1).topk(2)
    best = TopK(idx, logp.requires_grad_(), 2.0, 7)
    row = best[torch.tensor([[False, True, False], [False, False, False]])]
    assert torch.equal(row.idx, idx[0, 1:2]) and (row.temperature, row.classes) == (2.0, 7)
    assert not best.detach().logp.requires_grad and vocabulary(best) == 7


@pytest.mark.parametrize(("shapes", "classes"), [(((2, 3), (2, 2)), 9), (((2, 3), (2, 3)), 3), (((2, 0), (2, 0)), 9)])
def test_what_are_no_best_classes_is_refused(shapes, classes):
    with pytest.raises(ValueError, match=rf"best of {classes} classes are fewer.*idx \(2, "):
        TopK(torch.zeros(shapes[0], dtype=torch.long), torch.zeros(shapes[1]), 1.0, classes)
