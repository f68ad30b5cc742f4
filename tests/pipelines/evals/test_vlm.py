"""The embedded chat model on shipped pictures, against what the engine itself replies."""

import asyncio

import pyarrow.parquet as pq
import pytest

from potstill.config import RequestError
from potstill.models.engines.loop import run
from potstill.models.engines.protocol import Request, Sampling
from potstill.models.engines.settings import TransformersEngine
from potstill.pipelines.pixels import convert
from tests.pipelines.evals.rows import evaluation, png, reader, write

ENGINE = {"kind": "transformers", "model": "tiny", "threads": 1}
ROWS = 6


def measured(folder, **settings):
    asked = evaluation("vlm", folder, **{"engine": ENGINE, "max_tokens": 48, **settings})
    return asked.measure(reader(asked))


@pytest.fixture(scope="module")
def pictures(sample_run):
    table = pq.read_table(f"{sample_run}/dataset/part-00000.parquet")
    return [cell["bytes"] for cell in table["image"].to_pylist()[:ROWS]]


QUESTION = "What does the picture show?"


@pytest.fixture(scope="module")
def replies(pictures):
    """What the engine replies to each picture."""
    engine = TransformersEngine.model_validate(ENGINE).build()
    content = [{"type": "image"}, {"type": "text", "text": QUESTION}]
    requests = [
        Request(
            messages=[{"role": "user", "content": content}],
            images=(convert(data),),
            sampling=Sampling(max_tokens=48),
        )
        for data in pictures
    ]

    async def ask():
        return [reply.text.strip() for reply in await asyncio.gather(*map(engine.generate, requests))]

    return run(ask())


def test_answers_are_compared_with_those_of_the_rows(tmp_path, pictures, replies):
    answers = [*replies[:3], "nothing at all of that kind", replies[4].upper() + "!", None]
    found = measured(write(tmp_path, image=pictures, instruction=[QUESTION] * ROWS, response=answers), window=4)
    assert found.columns["reply"] == [*replies[:5], None]
    assert found.columns["exact_match"] == [1, 1, 1, 0, 1, None]
    assert found.metrics["exact_match"].value == pytest.approx(4 / 5)
    assert found.metrics["exact_match"].n == 5
    assert found.columns["anls"][:3] == [1, 1, 1] and 0.9 < found.columns["anls"][4] < 1
    assert "vqa_accuracy" not in found.metrics
    assert found.left_out == {"no answer": 1}
    assert found.facts["replies_cut"] == 0


def test_several_answers_to_a_question_give_the_vqa_accuracy(tmp_path, pictures, replies):
    answers = [[replies[0]] * 2 + ["other"] * 8, [replies[1]]]
    found = measured(write(tmp_path, image=pictures[:2], instruction=[QUESTION] * 2, response=answers))
    assert found.columns["vqa_accuracy"] == pytest.approx([0.6, 1])
    assert found.metrics["vqa_accuracy"].value == pytest.approx(0.8)
    assert found.columns["exact_match"] == [1, 1]


def test_columns_and_the_prompt_are_settings_and_a_short_limit_cuts(tmp_path, pictures, replies):
    folder = write(tmp_path, image=pictures[:1], ask=["the picture"], truth=[replies[0]])
    prompt = "What does {question} show?"
    found = measured(folder, question="ask", answer="truth", prompt=prompt)
    assert found.columns["exact_match"] == [1]
    cut = measured(folder, question="ask", answer="truth", prompt=prompt, max_tokens=2)
    assert cut.facts["replies_cut"] == 1
    assert cut.columns["exact_match"] == [0]


def test_rows_that_fail_or_cannot_be_asked_are_counted(tmp_path, pictures, replies):
    folder = write(
        tmp_path,
        image=[pictures[0], b"no picture", png("red")[:60], pictures[1]],
        instruction=[QUESTION, QUESTION, QUESTION, None],
        response=[replies[0], "x", "y", "z"],
    )
    found = measured(folder)
    assert [type(error).__name__ for error in found.errors] == ["NoneType", "NotAnImage", "OSError", "NoneType"]
    assert found.left_out == {"no question": 1}
    assert (found.metrics["exact_match"].value, found.metrics["exact_match"].n) == (1, 1)


def test_what_the_model_cannot_take_is_an_error_of_the_row(tmp_path, pictures, replies):
    long = QUESTION + " why" * 3000
    folder = write(tmp_path, image=pictures[:2], instruction=[QUESTION, long], response=[replies[0], "x"])
    found = measured(folder)
    assert found.errors[0] is None and isinstance(found.errors[1], ValueError)
    assert found.columns["reply"] == [replies[0], None]


def test_no_question_with_an_answer_is_refused(tmp_path, pictures):
    folder = write(tmp_path, image=pictures[:1], instruction=[QUESTION], response=[""])
    with pytest.raises(RequestError, match="no row has both a question in 'instruction' and an answer in 'response'"):
        measured(folder)


def test_the_model_is_named_with_its_digest_and_wrong_ones_are_refused(tmp_path):
    engine = TransformersEngine.model_validate(ENGINE)
    asked = evaluation("vlm", "x", engine=ENGINE)
    assert asked.model_identity() == {"kind": "transformers", "model": "tiny", **engine.identity()}
    with pytest.raises(RequestError, match="there is no folder /nowhere"):
        evaluation("vlm", "x", engine={**ENGINE, "model": "/nowhere"}).model_identity()
    (tmp_path / "config.json").write_text("{}")
    folder = write(tmp_path, image=[png("red")], instruction=["a"], response=["b"])
    with pytest.raises(RequestError, match="cannot load the chat model"):
        measured(folder, engine={**ENGINE, "model": str(tmp_path)})
    with pytest.raises(RequestError, match=r"prompt: the prompt has no place \{question\}"):
        evaluation("vlm", "x", engine=ENGINE, prompt="what?")
