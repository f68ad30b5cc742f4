"""Batches follow from the requests; the one that fails is found."""

import asyncio

import pytest

from potstill.models.engines.batching import Batcher, Job, answers, next_batch
from potstill.models.engines.protocol import Completion, Request, Sampling


def request(prompt, seed=0, images=0, choices=None, max_tokens=8):
    return Request(
        prompt=prompt,
        images=(None,) * images,
        choices=choices,
        sampling=Sampling(seed=seed, max_tokens=max_tokens),
    )


def echo(jobs):
    if any("bad" in job.prompt for job in jobs):
        raise RuntimeError("a bad batch")
    return [Completion(job.prompt.upper(), len(job.prompt), 1, "stop") for job in jobs]


def serve(requests, most=4, compute=echo):
    """Answers to requests sent at once, and the batches that were made."""
    seen = []

    def record(jobs):
        seen.append([job.prompt for job in jobs])
        return compute(jobs)

    async def gather():
        batcher = Batcher(record, most)
        sent = (batcher.submit(one, one.prompt) for one in requests)
        return await asyncio.gather(*sent, return_exceptions=True)

    return asyncio.run(gather()), seen


def test_batches_do_not_depend_on_the_order_of_arrival():
    requests = [
        *(request("ab" * length, images=1) for length in (3, 1, 2, 5, 4)),
        request("pick", choices=("a", "b")),
        request("long", max_tokens=99),
        request("text"),
        request("tex"),
    ]
    expected = [
        ["ab", "abab", "ababab", "abababab"],
        ["tex", "text"],
        ["pick"],
        ["ababababab"],
        ["long"],
    ]
    for order in (requests, requests[::-1], requests[4:] + requests[:4]):
        replies, batches = serve(order)
        assert [reply.text for reply in replies] == [one.prompt.upper() for one in order]
        assert batches == expected


def test_callers_who_ask_again_are_waited_for():
    async def cascade(batcher, name):
        first = await batcher.submit(request(name), name)
        follow = f"{first.text} again"
        await asyncio.sleep(0)
        return await batcher.submit(request(follow), follow)

    seen = []

    async def gather(names):
        batcher = Batcher(lambda jobs: seen.append(len(jobs)) or echo(jobs), 4)
        return await asyncio.gather(*(cascade(batcher, name) for name in names))

    asyncio.run(gather("abcd"))
    assert seen == [4, 4]


def test_a_failing_batch_is_halved_until_the_failing_request_stands_alone():
    replies, batches = serve([request(prompt) for prompt in ("a", "b", "bad", "c")])
    assert [getattr(reply, "text", None) for reply in replies] == ["A", "B", None, "C"]
    assert isinstance(replies[2], RuntimeError)
    assert batches == [["a", "b", "c", "bad"], ["a", "b"], ["c", "bad"], ["c"], ["bad"]]


def test_an_answer_may_be_an_exception():
    (reply,), _ = serve([request("x")], compute=lambda jobs: [ValueError("too long")])
    assert isinstance(reply, ValueError)


def test_a_caller_who_has_gone_disturbs_nobody():
    async def gather():
        batcher = Batcher(echo, 4)
        gone = asyncio.create_task(batcher.submit(request("gone"), "gone"))
        stays = asyncio.create_task(batcher.submit(request("stays"), "stays"))
        await asyncio.sleep(0)
        gone.cancel()
        return await stays

    assert asyncio.run(gather()).text == "STAYS"


def test_what_breaks_the_batching_itself_leaves_nobody_waiting():
    def breaks(jobs):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        serve([request("x")], compute=breaks)


def test_a_batch_takes_the_largest_group_and_leaves_the_rest():
    jobs = [Job(request("b"), "b", None), Job(request("a", images=1), "a", None), Job(request("a"), "a", None)]
    queue = list(jobs)
    assert next_batch(queue, 5) == [jobs[2], jobs[0]]
    assert queue == [jobs[1]]
    assert answers(echo, jobs[:1])[0].text == "B"
