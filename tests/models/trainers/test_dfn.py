"""The whole loop of a filter of one's own: train on trusted pairs, score a pool with what came out, keep the best."""

import numpy as np
import pyarrow as pa
import pytest

from benchmarks.scene_rows import scene_rows, write
from potstill.models.tiny.clip_evaluate import auc
from potstill.models.tiny.scenes import CONCEPTS, EMPTY, Scene, sample_scene
from potstill.models.trainers.launch import find_recipe, load_recipe, train
from potstill.pipelines.rowset import RowSet
from potstill.pipelines.scorers.clip_score import ClipScore
from potstill.pipelines.selectors.set_filter import SetFilter

KINDS = (0, 40, 80)
TRAINING, POOL = 80, 40


def few(rng):
    """A scene of one kind of thing out of three."""
    scene = sample_scene(rng)
    kind = int(rng.choice(KINDS)) % len(CONCEPTS)
    return Scene(tuple(EMPTY if cell == EMPTY else kind for cell in scene.cells), scene.colour)


@pytest.fixture(scope="module")
def table():
    """Scenes of which a third of the first have another one's caption."""
    return scene_rows(TRAINING + POOL, POOL, size=48, wrong=1 / 3, draw=few)


@pytest.fixture(scope="module")
def trained(table, tmp_path_factory):
    folder = write(table, tmp_path_factory.mktemp("mixed"), group=20)
    changes = [
        f"data.path={folder}",
        f"validation.path={folder}",
        "data.window=100",
        "batch_size=20",
        "steps=30",
        "epochs=null",
    ]
    return train(load_recipe(find_recipe("dfn-tiny"), changes), str(tmp_path_factory.mktemp("out") / "dfn"))


def test_only_trusted_pairs_are_learnt_from(trained):
    assert (trained["state"], trained["rows"]) == ("done", TRAINING - round(TRAINING / 3))


def test_what_came_out_scores_a_pool_and_the_best_of_it_are_kept(trained, table):
    pool = table.slice(TRAINING)
    captions, wrong = np.array(pool["caption"].to_pylist(), object), np.arange(POOL) % 2 == 0
    captions[wrong] = np.roll(captions[wrong], 1)
    rows = pool.select(["sample_id", "image"]).append_column("image_id", pool["sample_id"])
    rows = rows.append_column("caption", pa.array(captions, pa.string()))
    stage = ClipScore(name="dfn", model=f"local-dir:{trained['model']}", text=("caption",), device="cpu")
    scores = np.asarray(stage.build()(rows)["dfn"])
    assert auc(scores[~wrong], scores[wrong]) > 0.7
    chosen = RowSet.of(rows["sample_id"].to_pylist(), dfn=pa.array(scores))
    keep = SetFilter(keep={"low": "top_fraction(dfn, 0.25)"}).select(chosen, 0).keep
    by_id = np.argsort(rows["sample_id"].to_pylist())
    assert keep.sum() == POOL // 4
    assert scores[by_id][keep].min() >= scores[by_id][~keep].max()
    assert (~wrong)[by_id][keep].mean() > 0.7
