"""A head applied in chunks gives what dense logits give: values, every gradient, and nothing where nothing counts."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from potstill.models.losses.chunked import check_vocabulary, chunk_rows, each_row, linear_sum, summed
from potstill.models.losses.cross_entropy import CrossEntropy, cross_entropy
from potstill.models.losses.logits import Hidden, TopK
from potstill.models.losses.loss import Output
from potstill.models.losses.token_kl import TokenKl
from potstill.models.losses.topk_kl import topk_kl
from tests.models.losses import batches

ROWS, WIDTH, WORDS = 23, 6, 31
KINDS = ("forward", "reverse", "jsd", "skewed_forward", "skewed_reverse", "adaptive", "tvd")


def head(dtype=torch.float64, bias=True, rows=ROWS, seed=0):
    g = torch.Generator().manual_seed(seed)
    shapes = ((rows, WIDTH), (WORDS, WIDTH), (WORDS,))
    tensors = [torch.randn(*shape, generator=g, dtype=torch.float64).to(dtype).requires_grad_() for shape in shapes]
    return Hidden(*tensors) if bias else Hidden(*tensors[:2])


def gradients(value, hidden):
    tensors = [x for x in (hidden.h, hidden.weight, hidden.bias) if x is not None and x.requires_grad]
    return torch.autograd.grad(1.7 * value, tensors)


def functions(teacher):
    """Every row function with what it needs beside the student: a head, dense logits, best classes, words."""
    words = torch.randint(0, WORDS, (len(teacher.h),), generator=torch.Generator().manual_seed(9))
    logp, idx = teacher.dense().detach().log_softmax(-1).topk(4)
    yield from ((TokenKl(divergence=kind).rows, teacher) for kind in KINDS)
    yield TokenKl(temperature=2, t_squared=True).rows, teacher.dense().detach()
    yield from ((partial(topk_kl, tail=tail), TopK(idx, logp, 1.0, WORDS)) for tail in ("bucket", "smear"))
    yield partial(cross_entropy, label_smoothing=0.1), words


@pytest.mark.parametrize("number", range(11))
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_chunks_and_dense_logits_agree(number, dtype):
    hidden, other = head(dtype), head(dtype, seed=1)
    rows, also = list(functions(other))[number]
    weight = torch.rand(ROWS, generator=torch.Generator().manual_seed(3)).to(dtype)
    dense = (weight * rows(hidden.dense(), also.dense() if isinstance(also, Hidden) else also)).sum()
    expected = gradients(dense, hidden)
    limit = {torch.float64: 1e-12, torch.float32: 3e-6}[dtype]
    for chunk in (1, 5, ROWS, 99):
        chunked = linear_sum(rows, hidden, also, weight=weight, chunk=chunk)
        assert chunked.dtype == dtype
        assert chunked.item() == pytest.approx(dense.item(), rel=limit)
        for found, wanted in zip(gradients(chunked, hidden), expected, strict=True):
            assert (found - wanted).abs().max() <= limit * wanted.abs().max()


@pytest.mark.parametrize("frozen", ["h", "weight", "bias", "all", "no bias"])
def test_only_what_learns_gets_a_gradient(frozen):
    hidden = head(bias=frozen != "no bias")
    for name in ("h", "weight", "bias"):
        if frozen in (name, "all"):
            getattr(hidden, name).requires_grad_(False)
    teacher = head(seed=1)
    rows = TokenKl().rows
    chunked, dense = linear_sum(rows, hidden, teacher, chunk=4), rows(hidden.dense(), teacher.dense()).sum()
    assert chunked.requires_grad == (frozen != "all")
    assert chunked.item() == pytest.approx(dense.item())
    if frozen != "all":
        for found, wanted in zip(gradients(chunked, hidden), gradients(dense, hidden), strict=True):
            torch.testing.assert_close(found, wanted)
        linear_sum(rows, hidden, teacher, chunk=4).backward()
    assert all(x.grad is None for x in (teacher.h, teacher.weight, teacher.bias))
    with torch.no_grad():
        assert linear_sum(rows, hidden, teacher, chunk=4).item() == pytest.approx(dense.item())


def test_a_head_that_is_the_table_of_embeddings_gets_both_gradients():
    table, words = head().weight, torch.arange(ROWS) % WORDS
    h = table[words].tanh()
    chunked, dense = linear_sum(cross_entropy, Hidden(h, table), words, chunk=7), cross_entropy(h @ table.T, words)
    expected = torch.autograd.grad(dense.sum(), table, retain_graph=True)[0]
    torch.testing.assert_close(torch.autograd.grad(chunked, table, retain_graph=True)[0], expected)
    torch.testing.assert_close(torch.autograd.grad(2 * chunked, table)[0], 2 * expected)


@pytest.mark.parametrize("function", [linear_sum, each_row])
def test_no_rows_give_0_and_zero_gradients(function):
    hidden = head(rows=0)
    value = function(cross_entropy, hidden, torch.zeros(0, dtype=torch.long)).sum()
    value.backward()
    assert value == 0 and not hidden.weight.grad.any() and hidden.h.grad.shape == (0, WIDTH)


def test_values_of_rows_have_their_own_gradients():
    hidden, words = head(), torch.arange(ROWS) % WORDS
    chunked, dense = each_row(cross_entropy, hidden, words, chunk=4), cross_entropy(hidden.dense(), words)
    torch.testing.assert_close(chunked, dense)
    for found, wanted in zip(
        gradients(chunked.square().sum(), hidden), gradients(dense.square().sum(), hidden), strict=True
    ):
        torch.testing.assert_close(found, wanted)


def test_bfloat16_sums_its_chunks_in_float32():
    exact, rough = head(torch.float32, rows=400), head(torch.bfloat16, rows=400)
    words = torch.arange(400) % WORDS
    wanted = gradients(linear_sum(cross_entropy, exact, words), exact)
    found = gradients(linear_sum(cross_entropy, rough, words, chunk=2), rough)
    assert all(x.dtype == torch.bfloat16 for x in found)
    assert all((x - y).norm() < 0.006 * y.norm() for x, y in zip(found, wanted, strict=True))


def test_a_head_in_another_type_learns_in_its_own():
    hidden, words = head(torch.float32), torch.arange(ROWS) % WORDS
    mixed = replace(hidden, h=hidden.h.detach().bfloat16())
    weight, bias = torch.autograd.grad(linear_sum(cross_entropy, mixed, words), (hidden.weight, hidden.bias))
    wanted = torch.autograd.grad(linear_sum(cross_entropy, hidden, words), (hidden.weight, hidden.bias))
    assert weight.dtype == bias.dtype == torch.float32
    assert (weight - wanted[0]).norm() < 0.02 * wanted[0].norm()


class Largest(TorchDispatchMode):
    """Remembers how many rows of words a tensor ever had."""

    rows = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor) and out.ndim == 2 and out.shape[-1] == WORDS:
            self.rows = max(self.rows, len(out))
        return out


def test_there_are_never_more_logits_than_a_chunk_and_none_of_what_does_not_count():
    hidden, teacher = head(rows=100), head(rows=100, seed=1)
    rows, found = TokenKl().rows, Largest()
    with found:
        gradients(linear_sum(rows, hidden, teacher, chunk=8), hidden)
    assert found.rows == 8
    batch = batches.tokens()
    student = Hidden(torch.randn(batches.ROWS, batches.LENGTH, WIDTH), torch.randn(WORDS, WIDTH, requires_grad=True))
    found, loss = Largest(), CrossEntropy()
    with found:
        summed(loss, batch.labels, cross_entropy, student, batch.labels.target).backward()
    assert found.rows == loss.count(batch.labels) < chunk_rows(student)


@pytest.mark.parametrize(("width", "words", "rows"), [(64, 151_936, 56), (3584, 151_936, 597), (64, 32_000, 263)])
def test_a_chunk_takes_what_the_gradient_of_the_head_takes_and_at_least_32_mib_a_tensor(width, words, rows):
    assert chunk_rows(Hidden(torch.empty(0, width), torch.empty(words, width, device="meta"))) == rows


@pytest.mark.parametrize("weighted", [False, True])
def test_a_loss_over_a_head_is_the_loss_over_its_logits(weighted):
    batch = batches.tokens()
    h = torch.randn(batches.ROWS, batches.LENGTH, WIDTH, dtype=torch.float64)
    student = Hidden(h, torch.randn(batches.WORDS, WIDTH, dtype=torch.float64, requires_grad=True))
    labels = replace(batch.labels, weight=torch.rand(batches.ROWS)) if weighted else batch.labels
    for loss in (CrossEntropy(), TokenKl(), TokenKl(mask="vision", divergence="jsd")):
        lazy = replace(batch, student=Output(logits=student), labels=labels)
        there = replace(batch, student=Output(logits=student.dense()), labels=labels)
        assert loss.terms(lazy)[""].item() == pytest.approx(loss.terms(there)[""].item())


def test_sizes_that_differ_are_named():
    with pytest.raises(ValueError, match=r"words: the student has 31 classes, the teacher 32.*cut both heads"):
        check_vocabulary("words", head(), torch.zeros(2, 32))
