"""Every shipped tiny plan runs to its end on a few pictures, loses no row, and writes what its stages promise."""

import json
import shutil
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from potstill.models.tiny.scenes import CONCEPTS, SpriteBank, article, sample_scene
from potstill.pipelines import stream
from potstill.pipelines.plan import load_plan, shipped_plans
from potstill.pipelines.rundir import RunDir
from potstill.pipelines.runner import run_plan
from potstill.pipelines.worker import Worker
from tests.conftest import ROOT
from tests.pipelines.synthesizers.scripted import lists, rows

PICTURES = 5
TINY = [name for name in shipped_plans() if name.endswith("-tiny")]
NULL = {"options": "open questions have none, and plans whose next stage is a model ask no others"}
"""Ending of a column -> why it may hold no value at all."""


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """A folder with a few of the shipped pictures, captions made from their scene graphs, and these graphs."""
    folder = tmp_path_factory.mktemp("in") / "samples"
    folder.mkdir()
    lines = (ROOT / "samples/scene-graphs.jsonl").read_text(encoding="utf-8").splitlines()[:PICTURES]
    for line in lines:
        scene = json.loads(line)
        picture = shutil.copy(ROOT / "samples" / scene["image"], folder)
        names = sorted({thing["name"] for thing in scene["objects"]})
        Path(picture).with_suffix(".txt").write_text(f"A picture with {' and '.join(names)}.", encoding="utf-8")
    (folder / "scene-graphs.jsonl").write_text("\n".join(lines), encoding="utf-8")
    for name in ("captions.jsonl", "labels.jsonl"):
        texts = (ROOT / "samples" / name).read_text(encoding="utf-8").splitlines()[:PICTURES]
        (folder / name).write_text("\n".join(texts), encoding="utf-8")
    return folder


@pytest.fixture
def in_process(monkeypatch):
    """Stages run in this process instead of actors, which would each load torch anew: that is all that is left out."""

    def execute(segment, reads):
        workers = [Worker(segment.plan, group, RunDir(segment.run.url), segment.attempt) for group in segment.groups]
        for read in reads:
            table = segment.read(read)
            for worker in workers:
                table = worker(table)
            yield from segment.commit(table).to_pylist()

    monkeypatch.setattr(stream, "execute", execute)


@pytest.mark.ray
@pytest.mark.parametrize("name", TINY)
def test_a_tiny_plan_runs_to_its_end(name, samples, ray_session, in_process, tmp_path, monkeypatch):
    monkeypatch.chdir(samples.parent)
    plan = load_plan(shipped_plans()[name])
    result = run_plan(plan, str(tmp_path / "out"))
    intake, *stages = result["stages"]
    assert (result["state"], intake["in"], intake["kept"]) == ("done", PICTURES, PICTURES)
    assert stages[0]["in"] == PICTURES * plan.intake.samples_per_image
    for step in result["stages"]:
        assert step["in"] == step["kept"] + sum(step["dropped"].values()) + step["duplicate"] + step["quarantined"]
        assert step["quarantined"] == 0, step
    written = pq.read_table(tmp_path / "out/samples")
    for stage in plan.row_stages():
        for column, kind in stage.writes().items():
            assert kind is None or written.schema.field(column).type == kind, column
    assert not missing(plan, written)
    parts = (tmp_path / "out/dataset").glob("*.parquet")
    assert sum(pq.read_metadata(part).num_rows for part in parts) == result["rows"] == stages[-1]["kept"]


def test_what_the_plans_call_sensible_is_so():
    rng = np.random.default_rng(11)
    scenes = [sample_scene(rng) for _ in range(16)]
    images = []
    for pixels in SpriteBank(96, seed=12).render(scenes, rng):
        buffer = BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        images.append(buffer.getvalue())
    absent = [next(word for word in CONCEPTS if word not in scene.objects) for scene in scenes]
    true = [f"There is {article(scene.objects[0])}." for scene in scenes]
    false = [f"There is {article(word)}." for word in absent]
    table = rows(images, caption=[f"{scene.caption()} {lie}" for scene, lie in zip(scenes, false, strict=True)])
    answers = pa.array([list(pair) for pair in zip(false, true, strict=True)], pa.list_(pa.string()))
    table = table.append_column("answers", answers).append_column("instruction", pa.array(["What is there?"] * 16))

    def judged(plan, position):
        return lists(load_plan(shipped_plans()[plan]).stages[position].build()(table))

    verified = judged("verified-caption-tiny", 1)
    kept = [text == scene.caption() for text, scene in zip(verified["verified_caption"], scenes, strict=True)]
    assert sum(kept) >= 14
    wrong = judged("preference-claims-tiny", 2)["claim_judge_wrong"]
    assert wrong.count([1, 0]) >= 14
    grades = judged("preference-metrics-tiny", 2)["metric_judge_mean"]
    assert sum(bad < good for bad, good in grades) >= 14


def missing(plan, written):
    """Columns in which no row has a value, beside the reasons of dropped rows."""
    gates = {stage.gate() for stage in plan.row_stages()}
    names = [name for stage in plan.row_stages() for name in stage.writes() if name not in gates]
    names = [name for name in names if not name.endswith(tuple(NULL))]
    return [name for name in names if written[name].null_count == written.num_rows]
