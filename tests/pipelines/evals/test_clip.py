"""The embedded CLIP on shipped pictures: the numbers of the whole matrix, whatever the batches."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from potstill.config import RequestError
from potstill.models.clip import clip_revision, load_clip
from potstill.models.metrics.rankme import rankme
from potstill.pipelines.pixels import convert
from tests.pipelines.evals.conftest import PICTURES
from tests.pipelines.evals.rows import evaluation, png, reader, write


@pytest.fixture(scope="module")
def clip():
    return load_clip("tiny", threads=1)


@pytest.fixture(autouse=True)
def loaded_once(clip, monkeypatch):
    """The embedded model itself, loaded once for all tests here."""
    monkeypatch.setattr("potstill.models.clip.load_clip", lambda *_, **__: clip)


def measured(folder, **settings):
    asked = evaluation("clip", folder, **settings)
    return asked.measure(reader(asked))


@pytest.fixture(scope="module")
def table(sample_run):
    return pq.read_table(f"{sample_run}/dataset/part-00000.parquet")


@pytest.fixture(scope="module")
def vectors(clip, table):
    return clip.encode_images([convert(cell["bytes"]) for cell in table["image"].to_pylist()])


def test_recall_and_rank_are_those_of_the_whole_matrix(sample_run, clip, table, vectors):
    found = measured(sample_run, batch_size=3, recall=[1, 3])
    captions = table["caption"].to_pylist()
    rows = [row for row, text in enumerate(captions) if text]
    names = list(dict.fromkeys(captions[row] for row in rows))
    scores = vectors[rows] @ clip.encode_texts(names).T
    right = np.array([[captions[row] == name for name in names] for row in rows])
    for k in (1, 3):
        for way, matrix, truth in (("picture_to_text", scores, right), ("text_to_picture", scores.T, right.T)):
            best = np.argsort(-matrix, axis=1)[:, :k]
            expected = np.take_along_axis(truth, best, axis=1).any(axis=1).mean()
            estimate = found.metrics[f"{way}_r@{k}"]
            assert estimate.value == pytest.approx(expected)
            assert estimate.low <= estimate.value <= estimate.high
            assert estimate.n == len(matrix)
    assert found.metrics["rankme_pictures"].value == pytest.approx(rankme(vectors), rel=1e-4)
    assert found.metrics["picture_to_text_r@3"].value > 2 * 3 / len(names), "the model sees something"
    assert found.facts["pictures"] == PICTURES
    assert found.errors == [None] * PICTURES


def test_the_place_of_each_rows_own_text_is_told(sample_run, clip, table, vectors):
    found = measured(sample_run)
    captions = table["caption"].to_pylist()
    names = list(dict.fromkeys(text for text in captions if text))
    scores = vectors @ clip.encode_texts(names).T
    own = [scores[row, names.index(text)] for row, text in enumerate(captions)]
    assert found.columns["picture_to_text_place"] == [
        int((scores[row] > own[row] + 1e-6).sum()) + 1 for row in range(len(own))
    ]


def test_zero_shot_names_the_class_whose_prompts_are_nearest(sample_run, clip, table, vectors):
    found = measured(sample_run, text=[], label="meta_label", templates=["a picture of a {}", "one {}"])
    labels = reader(evaluation("clip", sample_run, label="meta_label")).values("meta_label")
    names = sorted(set(labels))
    rows = [clip.encode_texts([f"a picture of a {name}", f"one {name}"]) for name in names]
    classes = np.array([row.mean(axis=0) / np.linalg.norm(row.mean(axis=0)) for row in rows])
    said = [names[place] for place in (vectors @ classes.T).argmax(axis=1)]
    assert found.columns["predicted"] == said
    right = np.mean([one == two for one, two in zip(said, labels, strict=True)])
    assert found.metrics["zero_shot_top1"].value == pytest.approx(right)
    assert right > 3 / len(names), "the model sees something"
    assert found.metrics["zero_shot_top5"].value >= right
    assert "picture_to_text_r@1" not in found.metrics
    assert found.facts["classes"] == len(names)


def test_rows_of_one_picture_are_one_candidate_and_their_texts_all_belong_to_it(tmp_path, table):
    red, blue = (table["image"][row].as_py()["bytes"] for row in (0, 5))
    folder = write(tmp_path, image=[red, red, blue], text=[["a cow"], ["four baseballs", ""], ["a cow"]])
    found = measured(folder, text=["text"])
    assert (found.facts["pictures"], found.facts["texts"]) == (2, 2)
    # "a cow" is right for both pictures, so that it finds one of them first whatever the model says
    assert found.metrics["text_to_picture_r@1"].n == 2
    assert found.metrics["text_to_picture_r@5"].value == 1
    assert found.metrics["picture_to_text_r@5"].value == 1


def test_pictures_that_fail_and_rows_without_a_text_are_counted(tmp_path):
    cells = [png("red"), b"no picture", None, png("blue"), png("green")[:60]]
    folder = write(tmp_path, image=cells, caption=["red", "x", "y", None, "green"], label=["r", "r", "r", "b", "g"])
    found = measured(folder, label="label")
    assert [type(error).__name__ for error in found.errors] == [
        "NoneType", "NotAnImage", "MissingImage", "NoneType", "OSError",
    ]  # fmt: skip
    assert found.left_out == {"no text": 1}
    assert found.metrics["picture_to_text_r@1"].n == 1
    assert found.metrics["zero_shot_top1"].n == 2
    assert found.columns["picture_to_text_place"] == [1, None, None, None, None]


def test_when_every_picture_fails_there_are_errors_and_no_numbers(tmp_path):
    found = measured(write(tmp_path, image=[None, b"x"], caption=["a", "b"]))
    assert found.metrics == {}
    assert all(found.errors)


def test_with_neither_texts_nor_labels_only_the_rank_is_measured(tmp_path):
    folder = write(tmp_path, image=[png("red"), png("blue"), None])
    found = measured(folder, text=[])
    assert list(found.metrics) == ["rankme_pictures"]
    assert [error is None for error in found.errors] == [True, True, False]


def test_labels_may_be_numbers_of_named_classes(tmp_path, table, clip):
    data = [table["image"][row].as_py()["bytes"] for row in (0, 5)]
    folder = write(tmp_path, image=data, label=[1, 0])
    found = measured(folder, text=[], label="label", classes=["cookie", "cow"])
    assert found.columns["predicted"] == ["cow", "cookie"]
    assert found.metrics["zero_shot_top1"].value == 1
    with pytest.raises(RequestError, match="'label' holds numbers; name their classes"):
        measured(folder, text=[], label="label")


def test_what_cannot_be_measured_is_refused_before_any_picture(tmp_path):
    folder = write(tmp_path, image=[png("red")], caption=[None], label=["a"])
    with pytest.raises(RequestError, match=r"no row has a text in caption; name other columns, or none: text=\[\]"):
        measured(folder)
    with pytest.raises(RequestError, match="no row has a label in 'caption'"):
        measured(folder, text=[], label="caption")
    with pytest.raises(RequestError, match="no label in 'label' is one of the 2 classes"):
        measured(folder, text=[], label="label", classes=["x", "y"])


def test_the_model_is_named_with_its_revision_and_a_wrong_name_says_the_ways():
    assert evaluation("clip", "x").model_identity()["digest"] == clip_revision("tiny")
    for name in ("local-dir:/nowhere", "ViT-Z-1"):
        with pytest.raises(RequestError, match=f"model '{name}': .*; give tiny, an open_clip architecture"):
            evaluation("clip", "x", model=name).model_identity()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"templates": ["a photo"]}, r"templates: template 'a photo' has no \{\}"),
        ({"recall": [0]}, "recall: recall at 0"),
        ({"device": "tpu"}, "device: "),
        ({"batch_size": 0}, "batch_size: "),
        ({"txt": ["a"]}, "did you mean 'text'"),
    ],
)
def test_wrong_settings_are_refused(settings, words):
    with pytest.raises(RequestError, match=words):
        evaluation("clip", "x", **settings)
