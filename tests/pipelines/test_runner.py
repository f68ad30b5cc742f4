"""Whole runs on real Ray, with toy stages whose results are known."""

import json

import datasets
import pyarrow.parquet as pq
import pytest

from potstill.config import RequestError
from potstill.pipelines.errors import TooManyErrors
from potstill.pipelines.runner import run_plan
from tests.toys import ToyPlan, computed, pictures, png

pytestmark = pytest.mark.ray


def plan(source, stages, **settings):
    tree = {"source": {"kind": "folder", "path": str(source)}, "stages": stages, "run": {"chunk_rows": 4}}
    tree["run"] |= settings.pop("run", {})
    return ToyPlan.model_validate(tree | settings)


@pytest.fixture
def calls(tmp_path):
    folder = tmp_path / "calls"
    folder.mkdir()
    return folder


def step(result, name):
    return next(stage for stage in result["stages"] if stage["name"] == name)


def sample_of(out, source):
    """Id of the sample that started from a file."""
    for chunk in sorted((out / "images").glob("chunk-*.parquet")):
        for row, name in enumerate(pq.read_table(chunk)["source"].to_pylist()):
            if name == source:
                samples = pq.read_table(out / "samples" / chunk.name).to_pylist()
                return next(sample["sample_id"] for sample in samples if sample["row"] == row)
    raise LookupError(source)


def test_every_row_is_accounted_for_through_gate_filter_and_selector(ray_session, tmp_path, calls):
    source = pictures(tmp_path / "in", 10)
    (source / "copy.png").write_bytes((source / "0003.png").read_bytes())
    stages = [
        {"kind": "toy", "calls": str(calls)},
        {"kind": "gate"},
        {"kind": "filter", "name": "large", "keep": "toy >= 0"},
        {"kind": "random_subset", "budget": 3},
        {"kind": "toy", "name": "after", "calls": str(calls)},
    ]
    result = run_plan(plan(source, stages), str(tmp_path / "out"))
    assert step(result, "intake") | {"in": 11, "kept": 10, "duplicate": 1, "quarantined": 0} == step(result, "intake")
    assert step(result, "toy")["in"] == 10
    even = step(result, "gate")["kept"]
    assert step(result, "gate")["dropped"] == ({"odd": 10 - even} if even < 10 else {})
    assert step(result, "random_subset")["kept"] == min(3, even) == step(result, "after")["in"] == result["rows"]
    assert len(computed(calls)) == 10 + min(3, even)
    assert pq.read_table(tmp_path / "out/decisions/intake.parquet").to_pylist() == [
        {"sample_id": sample_of(tmp_path / "out", "0003.png"), "source": "copy.png", "duplicate_of": "0003.png"}
    ]
    assert json.loads((tmp_path / "out/run.json").read_text()) == result


def test_a_changed_threshold_runs_nothing_and_more_input_runs_only_the_new_rows(ray_session, tmp_path, calls):
    source, out = pictures(tmp_path / "in", 9), str(tmp_path / "out")

    def stages(least):
        return [
            {"kind": "toy", "calls": str(calls)},
            {"kind": "filter", "keep": {"small": f"toy >= {least}"}},
        ]

    first = run_plan(plan(source, stages(0)), out)
    assert (first["rows"], len(computed(calls))) == (9, 9)
    second = run_plan(plan(source, stages(10_000)), out)
    assert (second["rows"], step(second, "filter")["dropped"], len(computed(calls))) == (0, {"small": 9}, 9)
    for number in range(3):
        (source / f"0000-{number}.png").write_bytes(png((9, 9, number)))
    third = run_plan(plan(source, stages(0)), out)
    assert (third["rows"], len(computed(calls)), step(third, "toy")["computed"]) == (12, 12, 3)
    fresh = run_plan(plan(source, stages(0)), str(tmp_path / "fresh"))
    assert fresh["content_hash"] == third["content_hash"] != first["content_hash"]


def test_a_row_that_raises_and_a_row_that_kills_its_worker_are_quarantined_and_the_rest_goes_on(
    ray_session, tmp_path, calls
):
    source = pictures(tmp_path / "in", 8, captions={2: "raise", 5: "kill"})
    result = run_plan(plan(source, [{"kind": "toy"}], run={"max_error_fraction": 0.5}), str(tmp_path / "out"))
    assert (result["rows"], step(result, "toy")["quarantined"]) == (6, 2)
    rows = pq.read_table(tmp_path / "out/quarantine/toy.parquet").to_pylist()
    found = {row["source"]: (row["stage"], row["type"], row["attempts"]) for row in rows}
    assert found == {"0002.png": ("toy", "ValueError", 1), "0005.png": ("toy", "WorkerDied", 2)}
    assert not (tmp_path / "out/.inflight").exists()


def test_too_many_errors_stop_the_run_keep_the_work_and_say_how_to_allow_them(ray_session, tmp_path, calls):
    source = pictures(tmp_path / "in", 8, captions=dict.fromkeys(range(4), "raise"))
    stages = [{"kind": "toy", "calls": str(calls)}]
    with pytest.raises(TooManyErrors, match=r"run\.max_error_fraction=0\.51"):
        run_plan(plan(source, stages), str(tmp_path / "out"))
    before = len(computed(calls))
    stopped = json.loads((tmp_path / "out/run.json").read_text())
    assert (stopped["state"], step(stopped, "toy")["in"], step(stopped, "toy")["quarantined"]) == ("stopped", 8, 4)
    result = run_plan(plan(source, stages, run={"max_error_fraction": 0.51}), str(tmp_path / "out"))
    assert result["rows"] == 4
    again = run_plan(plan(source, stages, run={"max_error_fraction": 0.51}), str(tmp_path / "out"))
    assert again["content_hash"] == result["content_hash"]
    assert len(computed(calls)) >= before


def test_the_number_of_workers_and_the_size_of_chunks_do_not_change_the_result(ray_session, tmp_path):
    source = pictures(tmp_path / "in", 10)
    stages = [{"kind": "toy"}, {"kind": "gate"}]
    one = run_plan(plan(source, stages), str(tmp_path / "one"))
    resources = {"toy": {"actors": 2, "num_cpus": 0.5}, "gate": {"num_cpus": 0.25}}
    two = run_plan(plan(source, stages, resources=resources, run={"chunk_rows": 3}), str(tmp_path / "two"))
    assert one["content_hash"] == two["content_hash"]


def test_several_samples_can_start_from_one_image(ray_session, tmp_path, calls):
    source = pictures(tmp_path / "in", 3)
    made = plan(source, [{"kind": "toy", "calls": str(calls)}], intake={"samples_per_image": 4})
    result = run_plan(made, str(tmp_path / "out"))
    assert (result["rows"], len(set(computed(calls)))) == (12, 12)


def test_a_stage_that_does_not_fit_the_cluster_is_refused_with_both_numbers(ray_session, tmp_path):
    source = pictures(tmp_path / "in", 2)
    with pytest.raises(RequestError, match="wants 3 GPU, the cluster has 0"):
        run_plan(plan(source, [{"kind": "toy"}], resources={"toy": {"num_gpus": 3}}), str(tmp_path / "out"))


def test_another_source_in_the_same_directory_is_refused(ray_session, tmp_path):
    run_plan(plan(pictures(tmp_path / "in", 2), []), str(tmp_path / "out"))
    other = tmp_path / "other"
    other.mkdir()
    (other / "x.png").write_bytes(png())
    with pytest.raises(RequestError, match="other input"):
        run_plan(plan(other, []), str(tmp_path / "out"))


def test_an_input_file_that_has_gone_leaves_and_one_that_has_changed_is_computed_again(ray_session, tmp_path, calls):
    source, out = pictures(tmp_path / "in", 6), str(tmp_path / "out")
    stages = [{"kind": "toy", "calls": str(calls)}]
    run_plan(plan(source, stages), out)
    (source / "0000.png").unlink()
    (source / "0001.png").write_bytes(png((1, 2, 3), (50, 50)))
    result = run_plan(plan(source, stages), out)
    assert (result["rows"], len(computed(calls))) == (5, 7)


def test_a_stage_that_reads_what_is_no_part_of_the_id_runs_again_for_the_rows_where_it_changed(
    ray_session, tmp_path, calls
):
    """``meta`` is no part of a sample's id, so that a page's address does not make two of one picture."""
    source, out = pictures(tmp_path / "in", 5), str(tmp_path / "out")
    stages = [{"kind": "toy", "calls": str(calls)}, {"kind": "meta_length"}, {"kind": "gate", "size": "meta_length"}]
    before = run_plan(plan(source, stages), out)
    (source / "0002.json").write_text('{"licence": "CC0", "page": "somewhere"}')
    after = run_plan(plan(source, stages), out)
    assert (step(after, "toy")["computed"], step(after, "meta_length")["computed"]) == (0, 1)
    assert before["content_hash"] != after["content_hash"]
    fresh = run_plan(plan(source, stages), str(tmp_path / "fresh"))
    assert fresh["content_hash"] == after["content_hash"]
    assert len(computed(calls)) == 10


def test_what_a_selector_wrote_is_read_further_on_and_stands_in_decisions_and_product(ray_session, tmp_path, calls):
    source, out = pictures(tmp_path / "in", 6), tmp_path / "out"
    stages = [{"kind": "toy"}, {"kind": "top"}, {"kind": "filter", "name": "first", "keep": "top_place < 1"},
              {"kind": "double", "calls": str(calls)}]  # fmt: skip
    result = run_plan(plan(source, stages), str(out))
    assert step(result, "top") | {"in": 6, "kept": 2, "dropped": {"near": 3, "far": 1}} == step(result, "top")
    assert [step(result, name)["kept"] for name in ("first", "double")] == [1, 1]
    assert len(computed(calls)) == 1
    product = pq.read_table(next((out / "dataset").glob("*.parquet"))).to_pylist()
    assert [(row["top_place"], row["double"]) for row in product] == [(0, 0)]
    decided = pq.read_table(out / "decisions/top.parquet").to_pylist()
    assert [row["sample_id"] for row in decided] == sorted(row["sample_id"] for row in decided)
    assert sorted((row["top_place"], row["keep"], row["reason"]) for row in decided) == [
        (0, True, None), (1, True, None), (2, False, "near"), (3, False, "near"), (4, False, "near"), (5, False, "far")
    ]  # fmt: skip


def test_a_choice_stands_until_its_rows_or_settings_change_and_so_does_what_was_computed_from_it(
    ray_session, tmp_path, calls
):
    source, out = pictures(tmp_path / "in", 5), str(tmp_path / "out")
    (tmp_path / "chosen").mkdir()

    def stages(budget, least=0):
        top = {"kind": "top", "budget": budget, "calls": str(tmp_path / "chosen")}
        after = {"kind": "double", "calls": str(calls)}
        return [{"kind": "toy"}, {"kind": "filter", "keep": {"small": f"toy >= {least}"}}, top, after]

    def chosen():
        return len(list((tmp_path / "chosen").iterdir()))

    first = run_plan(plan(source, stages(3)), out)
    again = run_plan(plan(source, stages(3)), out)
    assert (chosen(), len(computed(calls))) == (1, 3)
    assert again["content_hash"] == first["content_hash"]
    run_plan(plan(source, stages(4)), out)
    assert chosen() == 2
    assert len(computed(calls)) >= 4
    sizes = pq.read_table(tmp_path / "out/samples").to_pydict()["toy"]
    before = len(computed(calls))
    shrunk = run_plan(plan(source, stages(4, sorted(sizes)[0] + 1)), out)
    assert chosen() == 3
    fresh = run_plan(plan(source, stages(4, sorted(sizes)[0] + 1)), str(tmp_path / "fresh"))
    assert shrunk["content_hash"] == fresh["content_hash"]
    assert len(computed(calls)) >= before


def jsonl_source(folder, metas):
    """Pictures of different sizes with a ``meta`` each, in one JSON lines file."""
    folder.mkdir(exist_ok=True)
    for number in range(len(metas)):
        (folder / f"{number}.png").write_bytes(png((number, 0, 0), (20 + number, 20)))
    lines = [json.dumps({"image": f"{number}.png", "note": meta}) for number, meta in enumerate(metas)]
    (folder / "rows.jsonl").write_text("\n".join(lines))
    return {"kind": "jsonl", "path": str(folder / "rows.jsonl")}


def test_a_group_goes_on_as_one_row_that_sees_all_its_members(ray_session, tmp_path, calls):
    source, out = jsonl_source(tmp_path / "in", [f"note {n}" for n in range(9)]), tmp_path / "out"
    stages = [{"kind": "toy"}, {"kind": "pairs"}, {"kind": "sum", "calls": str(calls)}]
    sinks = [{"kind": "parquet"}, {"kind": "llava"}, {"kind": "webdataset"}]

    def go(**changes):
        tree = {"source": source, "stages": stages, "run": {"chunk_rows": 4}, "sinks": sinks} | changes
        return run_plan(ToyPlan.model_validate(tree), str(out))

    result = go()
    pairs = step(result, "pairs")
    assert (pairs["in"], pairs["kept"], pairs["dropped"]) == (9, 4, {"grouped": 4, "alone": 1})
    dataset = datasets.load_dataset("parquet", data_files=str(out / "dataset/*.parquet"), split="train")
    for row in dataset:
        assert row["images"][0] == row["image"]
        assert [image.size[0] for image in row["images"]] == [20 + int(meta[-3]) for meta in row["metas"]]
    raw = [row for part in (out / "dataset").glob("*.parquet") for row in pq.read_table(part).to_pylist()]
    for row in raw:
        sizes = [len(image["bytes"]) for image in row["images"]]
        assert row["bytes"] == row["toys"] == sum(sizes)
        assert len(row["pairs_ids"]) == 2
        assert row["pairs_ids"][0] == row["sample_id"]
    told = json.loads((out / "llava/llava.json").read_text())
    assert [turn["conversations"][0]["value"] for turn in told] == ["<image>\n<image>"] * 4
    assert all((out / "llava" / image).exists() for turn in told for image in turn["image"])
    before = len(computed(calls))
    assert go()["content_hash"] == result["content_hash"]
    assert len(computed(calls)) == before == 4


def test_a_group_is_computed_anew_when_what_it_reads_of_a_member_has_changed(ray_session, tmp_path, calls):
    metas = [f"note {n}" for n in range(4)]
    out = str(tmp_path / "out")
    stages = [{"kind": "toy"}, {"kind": "pairs"}, {"kind": "sum", "calls": str(calls)}]

    def go():
        tree = {"source": jsonl_source(tmp_path / "in", metas), "stages": stages, "run": {"chunk_rows": 2}}
        return run_plan(ToyPlan.model_validate(tree), out)

    first = go()
    metas[0] = "another note"
    second = go()
    assert second["content_hash"] != first["content_hash"]
    assert len(computed(calls)) == 2 + 1
