import json

import pyarrow as pa
import pytest

from benchmarks.planted.outcome import Outcome, read_outcomes
from potstill.pipelines import schema
from potstill.pipelines.rundir import RunDir

KINDS = ["clean", "exact_copy", "broken.empty", "caption_other", "shape.tiny", "clean"]


def error(stage, kind):
    return {"stage": stage, "type": kind, "message": "…", "attempts": 1}


@pytest.fixture
def corpus(tmp_path):
    folder = tmp_path / "corpus"
    folder.mkdir()
    lines = [
        json.dumps({"id": f"row-{n}", "line": n, "path": f"images/{n:06d}.jpg", "group": None,
                    "flaws": [] if kind == "clean" else [kind]})
        for n, kind in enumerate(KINDS, start=1)
    ]  # fmt: skip
    (folder / "truth.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def source(n):
    return f"pairs.jsonl#{n}"


@pytest.fixture
def out(tmp_path):
    """A run in two chunks: row 2 is a duplicate, 3 cannot be read, 4 dropped, 5 in quarantine, 6 has two samples."""
    run = RunDir(tmp_path / "run")
    for name, rows in (("chunk-00000.parquet", [1, 2, 3, 4]), ("chunk-00001.parquet", [5, 6])):
        errors = pa.array([error("intake", "EmptyFile") if n == 3 else None for n in rows], schema.ERROR_TYPE)
        run.write_table(f"images/{name}", pa.table({"source": [source(n) for n in rows], "error": errors}))
    samples = {"chunk-00000.parquet": [("a", 0, 0.7), ("d", 3, 0.1)],
               "chunk-00001.parquet": [("e", 0, None), ("f", 1, 0.2), ("g", 1, 0.9)]}  # fmt: skip
    for name, rows in samples.items():
        ids, positions, scores = zip(*rows, strict=True)
        vectors = pa.array([[1.0, 0.0]] * len(rows), pa.list_(pa.float32(), 2))
        run.write_table(
            f"samples/{name}",
            pa.table({"sample_id": ids, "row": positions, "score": pa.array(scores, pa.float32()), "vector": vectors}),
        )
    run.write_table("decisions/intake.parquet", pa.table({"sample_id": ["a"], "source": [source(2)]}))
    run.write_table(
        "decisions/gate.parquet",
        pa.table({"sample_id": ["a", "d", "f", "g"], "keep": [True, False, False, True],
                  "reason": [None, "low", "low", None]}),
    )  # fmt: skip
    run.write_table(
        "decisions/pick.parquet",
        pa.table({"sample_id": ["a", "g"], "keep": [False, True], "reason": ["near", None], "distance": [3, None]}),
    )
    run.write_table("quarantine/judge.parquet", pa.table({"source": [source(5)], "type": ["UnparsableReply"]}))
    run.write_table("quarantine/intake.parquet", pa.table({"source": [source(3)], "type": ["EmptyFile"]}))
    run.write_json("run.json", {"stages": [{"name": name} for name in ("intake", "judge", "gate", "pick")]})
    return tmp_path / "run"


def test_every_row_has_the_stages_it_reached_and_what_they_said(corpus, out):
    rows = read_outcomes(corpus, out)
    assert [row.truth["id"] for row in rows] == [f"row-{n}" for n in range(1, 7)]
    assert [row.stages for row in rows] == [
        {"intake": None, "gate": None, "pick": "near"},
        {"intake": "duplicate"},
        {"intake": "quarantine: EmptyFile"},
        {"intake": None, "gate": "low"},
        {"intake": None, "judge": "quarantine: UnparsableReply"},
        {"intake": None, "gate": None, "pick": None},
    ]
    assert [row.dropped_by for row in rows] == ["pick", "intake", "intake", "gate", "judge", None]
    assert [row.kept for row in rows] == [False] * 5 + [True]


def test_computed_numbers_come_along_and_vectors_do_not(corpus, out):
    rows = read_outcomes(corpus, out)
    assert rows[0].columns["score"] == pytest.approx(0.7)
    assert rows[0].columns["distance"] == 3
    assert "vector" not in rows[0].columns
    assert rows[4].columns["score"] is None
    assert rows[1].columns == {}


def test_a_run_over_other_rows_is_refused(corpus, out):
    lines = (corpus / "truth.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (corpus / "truth.jsonl").write_text("".join(lines[:4]), encoding="utf-8")
    with pytest.raises(ValueError, match=r"pairs\.jsonl#5"):
        read_outcomes(corpus, out)
    extra = json.dumps({"id": "x", "line": 7, "path": "images/7.jpg", "group": None, "flaws": []})
    (corpus / "truth.jsonl").write_text("".join([*lines, extra]), encoding="utf-8")
    with pytest.raises(ValueError, match=r"holds 6 rows and .* 7"):
        read_outcomes(corpus, out)


def test_a_run_over_the_folder_of_pictures_is_joined_by_their_names(corpus, out):
    run = RunDir(out)
    for name in run.list("images"):
        table = run.read_table(f"images/{name}")
        names = [f"{int(value.split('#')[1]):06d}.jpg" for value in table["source"].to_pylist()]
        run.write_table(f"images/{name}", table.set_column(0, "source", pa.array(names)))
    for name in ("decisions/intake.parquet", "quarantine/judge.parquet"):
        table = run.read_table(name)
        names = [f"{int(value.split('#')[1]):06d}.jpg" for value in table["source"].to_pylist()]
        run.write_table(name, table.set_column(table.column_names.index("source"), "source", pa.array(names)))
    assert [row.dropped_by for row in read_outcomes(corpus, out)] == ["pick", "intake", "intake", "gate", "judge", None]


def test_a_pattern_names_a_kind_or_one_variant():
    row = Outcome({"flaws": ["shape.tiny", "foreign.sentence"]})
    assert row.has(["shape"])
    assert row.has(["foreign.sentence"])
    assert not row.has(["foreign.label", "sha"])
    assert not row.clean
