"""Rows through a stage's function: nothing lost, whatever it does."""

import pyarrow as pa
import pytest

from potstill.pipelines import schema
from potstill.pipelines.chunk import ConservationError
from potstill.pipelines.clock import Clock
from potstill.pipelines.notes import Note
from potstill.pipelines.rundir import RunDir
from potstill.pipelines.stage import RowStage
from potstill.pipelines.worker import ContractError, check_complete, compute, join


class Doubled(RowStage):
    """A stage of which only the contract is used; the function is given to each test."""

    kind: str = "doubled"

    def reads(self):
        return ("n",)

    def writes(self):
        return {"twice": pa.int64()}

    def build(self):
        raise NotImplementedError


STAGE = Doubled()


class Recorder:
    """Doubles ``n``; raises on bad rows; remembers its calls."""

    def __init__(self, bad=()):
        self.bad, self.calls = set(bad), []

    def __call__(self, rows):
        values = rows["n"].to_pylist()
        self.calls.append(values)
        if self.bad & set(values):
            raise ValueError(f"bad: {sorted(self.bad & set(values))}")
        return {"twice": [value * 2 for value in values]}


@pytest.fixture
def run(tmp_path):
    return RunDir(tmp_path)


def rows(count):
    return pa.table({schema.SAMPLE_ID: [f"id{number}" for number in range(count)], "n": list(range(count))})


def done(run, fn, count, size=64, note=None, stage=STAGE):
    columns, errors = compute(stage, fn, rows(count), size, note or Note(run, ".inflight/note.json"))
    return columns["twice"].to_pylist(), errors


def test_rows_come_back_in_their_order_in_batches_of_the_given_size(run):
    fn = Recorder()
    assert done(run, fn, 10, size=4) == ([0, 2, 4, 6, 8, 10, 12, 14, 16, 18], [None] * 10)
    assert fn.calls == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert not run.exists(".inflight/note.json")


def test_one_bad_row_of_64_costs_that_row_and_two_calls_per_halving(run):
    fn = Recorder(bad=[37])
    values, errors = done(run, fn, 64)
    assert values == [None if n == 37 else 2 * n for n in range(64)]
    assert [n for n, error in enumerate(errors) if error] == [37]
    assert errors[37] == {"stage": "doubled", "type": "ValueError", "message": "bad: [37]", "attempts": 1}
    assert len(fn.calls) == 1 + 2 * 6


def test_every_row_bad_is_every_row_in_quarantine_and_none_is_lost(run):
    values, errors = done(run, Recorder(bad=range(5)), 5, size=3)
    assert values == [None] * 5
    assert [error["message"] for error in errors] == [f"bad: [{n}]" for n in range(5)]


def test_a_stage_may_name_its_bad_rows_itself_and_is_then_called_once(run):
    calls = []

    def fn(batch):
        calls.append(batch.num_rows)
        return {"twice": [1, None, 3], "error": [None, KeyError("k"), None]}

    values, errors = done(run, fn, 3)
    assert (values, calls) == ([1, None, 3], [3])
    assert [error and error["type"] for error in errors] == [None, "KeyError", None]


def test_a_long_or_unprintable_message_is_kept_as_far_as_a_file_can_hold_it(run):
    def fn(batch):
        raise RuntimeError("\ud800" + "x" * 10_000)

    _, [error] = done(run, fn, 1)
    assert error["message"] == "\\ud800" + "x" * 1999


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ({}, r"promised columns \['twice'\] and returned \[\]"),
        ({"twice": [1, 2, 3], "more": [1, 2, 3]}, "and returned"),
        ({"twice": [1, 2]}, "got 3 rows and returned 2 values of 'twice'"),
        ({"twice": [1, 2, 3], "error": [None]}, "got 3 rows and returned 1 values of 'error'"),
        ({"twice": ["a", "b", "c"]}, "'doubled'.*'twice'"),
        ({"twice": 3}, "'doubled'.*'twice'"),
        (None, "'doubled'.*NoneType"),
        ([1, 2, 3], "'doubled'.*a list"),
    ],
)
def test_a_stage_that_breaks_its_promise_fails_the_run_and_is_named(run, result, message):
    with pytest.raises(ContractError, match=message):
        done(run, lambda batch: result, 3)


def test_numpy_arrow_and_chunked_results_are_taken_and_cast_to_the_promised_type(run):
    import numpy as np

    small = pa.array([1, 2, 3], pa.int8())
    for values in (np.array([1, 2, 3], np.int32), small, pa.chunked_array([small[:1], small[1:]]), (1, 2, 3)):
        columns, _ = compute(STAGE, lambda batch, values=values: {"twice": values}, rows(3), 8, Note(run, "n.json"))
        assert columns["twice"].equals(pa.array([1, 2, 3], pa.int64()))


def test_embeddings_keep_their_type_beside_rows_that_have_none(run):
    class Embedded(Doubled):
        def writes(self):
            return {"twice": None}

    kind = pa.list_(pa.float16(), 2)

    def fn(batch):
        if 1 in batch["n"].to_pylist():
            raise ValueError("bad")
        return {"twice": pa.array([[n, n + 0.5] for n in batch["n"].to_pylist()], kind)}

    columns, errors = compute(Embedded(), fn, rows(4), 2, Note(run, "n.json"))
    assert columns["twice"].type == kind
    assert columns["twice"].to_pylist() == [[0, 0.5], None, [2, 2.5], [3, 3.5]]
    assert [bool(error) for error in errors] == [False, True, False, False]


class Died(BaseException):
    """Ends the call as the death of the process would: nothing after it runs."""


def deadly(poison, calls):
    def fn(batch):
        values = batch["n"].to_pylist()
        calls.append(values)
        if poison & set(values):
            raise Died
        return {"twice": [value * 2 for value in values]}

    return fn


def test_a_batch_that_kills_its_worker_is_tried_row_by_row_and_a_row_that_kills_it_again_is_poison(run):
    calls = []
    for _ in range(2):
        with pytest.raises(Died):
            done(run, deadly({2}, calls), 6, size=3)
    values, errors = done(run, deadly({2}, calls), 6, size=3)
    assert values == [0, 2, None, 6, 8, 10]
    assert [error and (error["type"], error["attempts"]) for error in errors] == [
        None,
        None,
        ("WorkerDied", 2),
        *[None] * 3,
    ]
    first = [[0, 1, 2]]
    second = [[3, 4, 5], [0], [1], [2]]
    third = [[3, 4, 5], [0], [1]]
    assert calls == first + second + third


def test_poison_is_remembered_when_the_chunk_is_computed_once_more(run):
    calls = []
    for _ in range(2):
        with pytest.raises(Died):
            done(run, deadly({0}, calls), 1)
    for _ in range(2):
        values, [error] = done(run, deadly({0}, calls), 1)
        assert (values, error["type"]) == ([None], "WorkerDied")
    assert calls == [[0], [0]]


def test_two_poison_rows_of_one_batch_cost_three_deaths_and_no_other_row(run):
    calls = []
    for _ in range(3):
        with pytest.raises(Died):
            done(run, deadly({1, 2}, calls), 4)
    values, errors = done(run, deadly({1, 2}, calls), 4)
    assert values == [0, None, None, 6]
    assert [bool(error) for error in errors] == [False, True, True, False]


def test_a_worker_that_dies_of_something_else_costs_no_row(run):
    calls = []
    with pytest.raises(Died):
        done(run, deadly({0, 1, 2}, calls), 3)
    assert done(run, Recorder(), 3) == ([0, 2, 4], [None] * 3)


def test_columns_join_whatever_the_order_of_typed_and_untyped_parts():
    assert join([pa.nulls(1), pa.array([1]), pa.nulls(1)]).equals(pa.array([None, 1, None]))
    assert join([pa.nulls(1), pa.nulls(2)]).equals(pa.nulls(3))
    assert join([pa.chunked_array([pa.array([1]), pa.array([2])]), pa.array([3])]).equals(pa.array([1, 2, 3]))


def test_samples_that_went_missing_or_moved_are_noticed():
    table = rows(3)
    check_complete(table, ["id0", "id1", "id2"])
    with pytest.raises(ConservationError, match=r"4 samples were read and 3 came back \(1 missing\)"):
        check_complete(table, ["id0", "id1", "id2", "id3"])
    with pytest.raises(ConservationError):
        check_complete(table, ["id0", "id2", "id1"])


def test_a_large_batch_that_kills_its_worker_is_computed_alone_in_groups_that_get_smaller(run):
    calls = []
    for _ in range(3):
        with pytest.raises(Died):
            done(run, deadly({37}, calls), 64)
    values, errors = done(run, deadly({37}, calls), 64)
    assert [n for n, error in enumerate(errors) if error] == [37]
    assert (errors[37]["type"], errors[37]["attempts"]) == ("WorkerDied", 3)
    assert values == [None if n == 37 else 2 * n for n in range(64)]
    assert [len(call) for call in calls[:6]] == [64, 8, 8, 8, 8, 8]
    assert calls[5] == list(range(32, 40)) and [37] in calls
    assert len(calls) == 1 + 5 + (7 + 6) + (7 + 7)


def test_seconds_of_calls_at_the_same_time_add_up_to_the_time_in_which_any_ran(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("potstill.pipelines.clock.time.perf_counter", lambda: now[0])
    clock = Clock()
    with clock.run() as first:
        now[0] += 1
        with clock.run() as second:
            now[0] += 4
        now[0] += 1
    now[0] += 50
    with clock.run() as third:
        now[0] += 3
    assert (first(), second(), third()) == (4, 2, 3)
