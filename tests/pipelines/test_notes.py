"""Who computes beside whom, and who is blamed when a worker dies."""

import threading
from itertools import chain

import pytest

from potstill.pipelines.notes import Note, Turns
from potstill.pipelines.rundir import RunDir

PATIENCE = 30


class Died(BaseException):
    """Ends a block as the death of the process would: nothing after it runs."""


@pytest.fixture
def run(tmp_path):
    return RunDir(tmp_path)


def dies(note, ids, *, alone=False):
    with pytest.raises(Died), note.computing(ids, alone=alone):
        raise Died


def in_thread(turns, *, alone, log, name, until):
    """A thread that takes a turn, says so in ``log``, and holds it until told."""

    def hold():
        with turns.turn(alone=alone):
            log.append(name)
            assert until.wait(PATIENCE)

    thread = threading.Thread(target=hold)
    thread.start()
    return thread


def waits_until(condition):
    tick = threading.Event()
    for _ in range(PATIENCE * 200):
        if condition():
            return
        tick.wait(0.005)
    raise AssertionError("it never came true")


def test_batches_run_side_by_side_and_one_alone_waits_for_them_and_goes_before_later_ones():
    turns, log = Turns(), []
    first, second, lone, last = (threading.Event() for _ in range(4))
    threads = [in_thread(turns, alone=False, log=log, name=name, until=until)
               for name, until in (("a", first), ("b", second))]  # fmt: skip
    waits_until(lambda: sorted(log) == ["a", "b"])
    threads.append(in_thread(turns, alone=True, log=log, name="lone", until=lone))
    waits_until(lambda: turns._waiting_alone == 1)
    threads.append(in_thread(turns, alone=False, log=log, name="c", until=last))
    first.set()
    threads[0].join(PATIENCE)
    assert len(log) == 2
    second.set()
    waits_until(lambda: log[2:] == ["lone"])
    lone.set()
    waits_until(lambda: log[2:] == ["lone", "c"])
    last.set()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_many_threads_never_compute_beside_one_that_is_alone():
    turns, inside, seen, lock = Turns(), [], [], threading.Lock()

    def work(number):
        for step in range(50):
            alone = (number + step) % 5 == 0
            with turns.turn(alone=alone):
                with lock:
                    inside.append(alone)
                    seen.append((alone, len(inside), any(inside)))
                with lock:
                    inside.remove(alone)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(seen) == 400
    assert all(count == 1 for alone, count, _ in seen if alone)
    assert not any(beside for alone, _, beside in seen if not alone)


def test_a_turn_is_given_back_when_its_batch_raises():
    turns = Turns()
    for alone in (True, False, True):
        with pytest.raises(ValueError, match="x"), turns.turn(alone=alone):
            raise ValueError("x")
    with turns.turn(alone=True):
        pass


def test_a_batch_that_ends_leaves_nothing(run):
    note = Note(run, "n.json")
    with note.computing(["a", "b"]):
        assert run.read_json("n.json")["running"] == ["a", "b"]
    assert not run.exists("n.json")


def test_a_note_waits_for_its_turn_before_it_names_its_rows(run):
    """Else the rows that only wait would be blamed for the death of those that are computed alone."""
    turns = Turns()
    note, log, until = Note(run, "n.json", turns), [], threading.Event()
    lone = in_thread(turns, alone=True, log=log, name="lone", until=until)
    waits_until(lambda: log == ["lone"])

    def compute():
        with note.computing(["a"]):
            log.append("a")

    waiting = threading.Thread(target=compute)
    waiting.start()
    waiting.join(0.05)
    assert waiting.is_alive() and not run.exists("n.json")
    until.set()
    lone.join(PATIENCE)
    waiting.join(PATIENCE)
    assert log == ["lone", "a"]


def test_rows_of_a_dead_worker_are_suspects_in_eight_groups_and_then_in_smaller_ones(run):
    ids = [f"id{number:02d}" for number in range(20)]
    dies(Note(run, "n.json"), ids)
    note = Note(run, "n.json")
    assert [len(group) for group in note.suspects] == [3, 3, 3, 3, 3, 3, 2]
    assert list(chain(*note.suspects)) == ids and not note.poison
    dies(note, note.suspects[1], alone=True)
    note = Note(run, "n.json")
    assert sorted(note.suspects, key=len)[:3] == [["id03"], ["id04"], ["id05"]]
    assert sorted(chain(*note.suspects)) == ids and not note.poison
    dies(note, ["id04"], alone=True)
    note = Note(run, "n.json")
    assert (note.poison, note.deaths["id04"], note.deaths["id03"], note.deaths["id00"]) == ({"id04"}, 3, 2, 1)
    assert sorted(chain(*note.suspects)) == [id_ for id_ in ids if id_ != "id04"]


def test_a_single_row_is_poison_only_after_a_death_alone(run):
    dies(Note(run, "n.json"), ["a"])
    note = Note(run, "n.json")
    assert (note.suspects, note.poison) == ([["a"]], set())
    dies(note, ["a"], alone=True)
    assert Note(run, "n.json").poison == {"a"}


def test_a_note_that_is_read_twice_counts_a_death_once(run):
    dies(Note(run, "n.json"), ["a"])
    for _ in range(3):
        note = Note(run, "n.json")
        assert (note.suspects, note.poison, note.deaths) == ([["a"]], set(), {"a": 1})


def test_suspects_that_answered_stay_suspects_until_the_run_ends(run):
    dies(Note(run, "n.json"), ["a", "b"])
    note = Note(run, "n.json")
    for group in note.suspects:
        with note.computing(group, alone=True):
            pass
    assert Note(run, "n.json").suspects == [["a"], ["b"]]


def test_a_row_is_in_one_group_though_only_a_part_of_its_group_was_computed(run):
    dies(Note(run, "n.json"), [f"id{number}" for number in range(16)])
    note = Note(run, "n.json")
    assert ["id0", "id1"] in note.suspects
    dies(note, ["id0"], alone=True)
    note = Note(run, "n.json")
    assert note.poison == {"id0"} and ["id1"] in note.suspects
