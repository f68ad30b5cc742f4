"""Sampling is exact, and belongs to the request."""

from collections import Counter
from dataclasses import replace

import pytest
import torch

from potstill.models.engines.decoding import Draw, next_scores
from potstill.models.engines.protocol import Sampling

END = 3
LOGITS = torch.log(torch.tensor([0.5, 0.3, 0.15, 0.05]))


def decode(tokens):
    return "".join("abc."[token] for token in tokens)


def draw(sampling, room=100):
    return Draw(sampling, room, [END], decode)


def best(one, logits):
    return int(next_scores([one], logits[None]).argmax())


def frequencies(sampling, draws=4000):
    counts = Counter(best(draw(replace(sampling, seed=seed)), LOGITS) for seed in range(draws))
    return [counts[token] / draws for token in range(4)]


def reply(sampling, logits, room=100):
    one = draw(sampling, room)
    while one.finish_reason is None:
        one.take(best(one, logits), logits)
    return one


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        (Sampling(temperature=1), [0.5, 0.3, 0.15, 0.05]),
        (Sampling(temperature=0.5), [0.25 / 0.365, 0.09 / 0.365, 0.0225 / 0.365, 0.0025 / 0.365]),
        (Sampling(temperature=1, top_k=2), [0.625, 0.375, 0, 0]),
        (Sampling(temperature=1, top_p=0.7), [0.625, 0.375, 0, 0]),
        (Sampling(temperature=1, top_p=0.4), [1, 0, 0, 0]),
        (Sampling(temperature=1, min_tokens=1), [0.5 / 0.95, 0.3 / 0.95, 0.15 / 0.95, 0]),
        (Sampling(temperature=0), [1, 0, 0, 0]),
    ],
)
def test_tokens_are_drawn_with_the_probabilities_of_the_cut_and_tempered_softmax(sampling, expected):
    assert frequencies(sampling) == pytest.approx(expected, abs=0.03)  # 4 standard errors at 4000 draws


def test_one_seed_gives_one_reply_and_another_seed_another():
    texts = [reply(Sampling(temperature=1, max_tokens=20, seed=seed), LOGITS).text() for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


def test_penalties_lower_the_logits_of_drawn_tokens_by_hand():
    one = draw(Sampling(frequency_penalty=0.5, presence_penalty=0.25))
    for token in (0, 0, 1):
        one.take(token, LOGITS)
    lowered = LOGITS - next_scores([one], LOGITS[None])[0]
    assert lowered.tolist() == pytest.approx([2 * 0.5 + 0.25, 0.5 + 0.25, 0, 0], abs=1e-6)


def test_a_reply_ends_at_the_limit_the_end_token_the_room_or_a_stop_string():
    end = torch.tensor([0.0, 0, 0, 9])
    assert (reply(Sampling(max_tokens=3), LOGITS).text(), reply(Sampling(max_tokens=3), LOGITS).finish_reason) == (
        "aaa",
        "length",
    )
    assert reply(Sampling(max_tokens=9), LOGITS, room=2).tokens == [0, 0]
    ended = reply(Sampling(max_tokens=9), end)
    assert (ended.text(), ended.tokens, ended.finish_reason) == ("", [END], "stop")
    stopped = reply(Sampling(max_tokens=9, stop=("zz", "aa")), LOGITS)
    assert (stopped.text(), stopped.tokens, stopped.finish_reason) == ("", [0, 0], "stop")


def test_the_end_token_waits_for_min_tokens():
    assert reply(Sampling(min_tokens=2, max_tokens=9), torch.tensor([0.0, -1, -1, 9])).tokens == [0, 0, END]


def test_log_probabilities_are_those_of_the_model_before_any_cut():
    one = reply(Sampling(temperature=1, top_k=1, max_tokens=1, logprobs=2), LOGITS)
    assert one.token_logprobs == pytest.approx([-0.693147], abs=1e-5)
    assert one.top_logprobs == [pytest.approx({"a": -0.693147, "b": -1.203973}, abs=1e-5)]


def test_seeds_of_any_size_are_taken():
    for seed in (0, 2**63, 2**64 - 1):
        assert next_scores([draw(Sampling(temperature=1, seed=seed))], LOGITS[None]).isfinite().all()


def test_rows_of_other_settings_change_nothing():
    samplings = [
        Sampling(temperature=1, seed=1),
        Sampling(),
        Sampling(temperature=0.7, top_k=2, seed=2),
        Sampling(temperature=2, top_p=0.6, seed=3),
        Sampling(temperature=1, top_k=9, min_tokens=1, seed=4),
    ]
    logits = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    together = next_scores([draw(sampling) for sampling in samplings], logits)
    for row, sampling in enumerate(samplings):
        assert torch.equal(together[row], next_scores([draw(sampling)], logits[row : row + 1])[0])
