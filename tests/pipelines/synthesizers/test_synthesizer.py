"""Stages on a real (random) engine: neither order nor batch changes a row."""

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from potstill.models.engines.settings import TransformersEngine
from potstill.pipelines.synthesizers.oasis import OasisInstruct, OasisJudge
from potstill.pipelines.synthesizers.respond import Respond
from tests.models.engines import random_chat
from tests.pipelines.synthesizers.scripted import lists, rows


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    return TransformersEngine(model=str(random_chat.save(tmp_path_factory.mktemp("chat"))), max_batch=4, threads=1)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    random = np.random.default_rng(0)
    images = []
    for index in range(7):
        path = folder / f"{index}.png"
        Image.fromarray(random.integers(0, 256, (20 + 9 * index, 40, 3), dtype=np.uint8)).save(path)
        images.append(path.read_bytes())
    return rows(images, instruction=[f"What is number {index}?" for index in range(7)])


def stages(engine):
    hook = {"min_tokens": 4, "max_tokens": 6}
    return [
        OasisInstruct(engine=engine, hook=hook, extract_tokens=4),
        OasisJudge(engine=engine, max_tokens=4),
        Respond(engine=engine, temperature=1.0, max_tokens=6),
    ]


def by_id(stage, parts):
    """Sample id -> its results, over several batches."""
    found = {}
    for part in parts:
        result = lists(stage.build()(part))
        for index, key in enumerate(part["sample_id"].to_pylist()):
            found[key] = {name: values[index] for name, values in result.items()}
    return found


@pytest.mark.parametrize("position", [0, 1, 2])
def test_a_row_does_not_depend_on_its_company(engine, table, position):
    stage = stages(engine)[position]
    whole = by_id(stage, [table])
    assert len(whole) == 7
    assert by_id(stage, [table.take(pa.array([5, 1, 6, 0, 4, 3, 2]))]) == whole
    assert by_id(stage, [table.slice(0, 3), table.slice(3, 1), table.slice(4)]) == whole


def test_what_a_random_model_says_is_no_verdict_and_never_a_score(engine, table):
    result = lists(stages(engine)[1].build()(table))
    assert all(error.startswith("UnparsableReply: nonsense, 2 tries") for error in result["error"])
    assert result["nonsense"] == [None] * 7


def test_responses_come_with_their_counts_and_equal_engines_are_one(engine, table):
    result = lists(stages(engine)[2].build()(table))
    assert result["error"] == [None] * 7
    counts = zip(result["finish_reason"], result["respond_completion_tokens"], strict=True)
    assert all(count == 6 if reason == "length" else 1 <= count <= 6 for reason, count in counts)
    assert engine.build() is TransformersEngine(model=engine.model, max_batch=4, threads=1).build()
