"""Classifiers that were exported by their trainer, and columns of predictions."""

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from potstill.config import RequestError, validate
from potstill.models.engines.settings import folder_digest
from potstill.models.metrics.calibration import calibration_error, fit_temperature
from potstill.models.trainers.classifier import ClassifierRecipe
from potstill.models.trainers.classifier_task import ClassifierTask, load_classifier
from potstill.models.trainers.pictures import pixels
from tests.models.trainers.world import CLASSES, recipe, write_vectors
from tests.pipelines.evals.rows import evaluation, png, reader, write


def measured(folder, **settings):
    asked = evaluation("classifier", folder, **settings)
    return asked.measure(reader(asked))


def exported(folder, **changes):
    """A classifier with random weights, exported as training does."""
    torch.manual_seed(0)
    task = ClassifierTask(validate(ClassifierRecipe, recipe(folder, **changes), "test"))
    task.export(folder / "train" / "model", task.student.state_dict())
    return folder / "train"


@pytest.fixture
def vectors(tmp_path):
    return write_vectors(tmp_path / "vectors", rows=100)


def test_a_classifier_of_vectors_is_measured_as_its_logits_say(vectors):
    folder = exported(vectors)
    found = measured(vectors, model=str(folder), input="features", batch_size=7)
    table = pq.read_table(vectors / "dataset")
    model, classes = load_classifier(folder / "model")
    with torch.inference_mode():
        logits = model.eval()(torch.tensor(table["features"].to_pylist()))[0].double()
    labels = table["label"].to_pylist()
    rows = [row for row, label in enumerate(labels) if label is not None]
    truth = torch.tensor([classes.index(labels[row]) for row in rows])
    said = logits.argmax(1)
    assert found.columns["predicted"] == [classes[place] for place in said]
    right = (said[rows] == truth).double()
    assert found.metrics["top1"].value == pytest.approx(right.mean().item())
    shares = logits[rows].softmax(1)
    expected = {
        "loss": torch.nn.functional.cross_entropy(logits[rows], truth).item(),
        "calibration_error": calibration_error(shares.max(1).values.numpy(), right.numpy()),
        "best_temperature": fit_temperature(logits[rows].numpy(), truth.numpy()),
        "per_class": np.mean([right[truth == place].mean().item() for place in range(len(CLASSES))]),
    }
    for name, value in expected.items():
        assert found.metrics[name].value == pytest.approx(value, rel=1e-5), name
    assert (found.metrics["loss"].n, found.left_out) == (90, {"no label": 10})


def test_a_classifier_of_pictures_sees_what_it_was_trained_on(tmp_path):
    data = [png("red"), png("blue"), b"no picture", png("red")]
    write(tmp_path, sample_id=list("abcd"), image=data, label=["ant", "bee", "cat", "ant"])
    folder = exported(tmp_path, network={"architecture": "test_resnet", "size": 32}, input="image")
    found = measured(tmp_path, model=str(folder / "model"))
    model, classes = load_classifier(folder / "model")
    with torch.inference_mode():
        batch = torch.from_numpy(np.stack([pixels(each, 32) for each in data if each != data[2]]))
        said = model.eval()(batch.permute(0, 3, 1, 2))[0].argmax(1).tolist()
    assert found.columns["predicted"] == [classes[said[0]], classes[said[1]], None, classes[said[0]]]
    assert type(found.errors[2]).__name__ == "NotAnImage"
    assert found.facts["inputs"] == 2
    assert found.metrics["top1"].n == 3


@pytest.mark.parametrize("hidden", [[16], []])
def test_two_heads_are_blended(vectors, hidden):
    network = {"architecture": "mlp", "hidden": hidden, "dual_head": True}
    folder = exported(vectors, network=network, blend=[0.3, 2.0])
    found = measured(vectors, model=str(folder), input="features")
    table = pq.read_table(vectors / "dataset")
    model, classes = load_classifier(folder / "model")
    with torch.inference_mode():
        first, second = model.eval()(torch.tensor(table["features"].to_pylist()))
    shares = 0.3 * first.softmax(1) + 0.7 * (second / 2).softmax(1)
    assert found.columns["predicted"] == [classes[place] for place in shares.argmax(1)]
    rows = [row for row, label in enumerate(table["label"].to_pylist()) if label is not None]
    truth = [classes.index(table["label"][row].as_py()) for row in rows]
    assert found.metrics["loss"].value == pytest.approx(-shares[rows, truth].log().mean().item(), rel=1e-5)
    other = measured(vectors, model=str(folder), input="features", blend=[1.0, 1.0])
    assert other.metrics["loss"].value == pytest.approx(-first.softmax(1)[rows, truth].log().mean().item(), rel=1e-5)
    with pytest.raises(RequestError, match=r"blend\.0: "):
        evaluation("classifier", vectors, model="x", blend=[2, 1])


def test_vectors_of_another_width_are_errors_of_their_rows(vectors):
    folder = exported(vectors)
    other = write(vectors / "other", features=[[1.0] * 6, [1.0] * 5, None], label=["ant"] * 3)
    found = measured(other, model=str(folder), input="features")
    assert found.errors[0] is None
    assert [str(error) for error in found.errors[1:]] == [
        "the cell has 5 numbers, the model wants 6", "the cell has 0 numbers, the model wants 6",
    ]  # fmt: skip


def test_a_column_of_predictions_is_compared_with_the_labels(tmp_path):
    folder = write(
        tmp_path,
        image_id=list("ppqrs"),
        label=["cat", "dog", "cat", None, "dog"],
        said=["cat", "cat", "cat", "x", None],
    )
    found = measured(folder, prediction="said")
    # a prediction that is missing is wrong: 2 of 4; cat 2 of 2, dog 0 of 2
    assert (found.metrics["top1"].value, found.metrics["top1"].n) == (0.5, 4)
    assert found.metrics["per_class"].value == 0.5
    assert found.left_out == {"no label": 1}
    assert found.columns == {
        "label": ["cat", "dog", "cat", None, "dog"],
        "predicted": ["cat", "cat", "cat", "x", None],
    }


def test_numbers_are_compared_as_what_they_are(tmp_path):
    assert measured(write(tmp_path, label=[1, 2], said=["1", "3"]), prediction="said").metrics["top1"].value == 0.5


def test_the_model_is_named_with_its_digest(vectors):
    folder = exported(vectors)
    found = evaluation("classifier", vectors, model=str(folder)).model_identity()
    assert found == {"model": str(folder), "digest": folder_digest(folder / "model")}
    assert evaluation("classifier", vectors, prediction="label").model_identity() == {}


def test_what_cannot_be_measured_is_refused(vectors, tmp_path):
    folder = exported(vectors)
    with pytest.raises(RequestError, match=r"no config\.json there; give the folder of a training"):
        measured(vectors, model=str(tmp_path), input="features")
    with pytest.raises(RequestError, match=r"give one of model \(a folder\) and prediction \(a column\)"):
        evaluation("classifier", vectors)
    other = write(tmp_path / "x", features=[[1.0] * 6], label=["yak"])
    with pytest.raises(RequestError, match="no label in 'label' is one of the 4 classes; the first label is 'yak'"):
        measured(other, model=str(folder), input="features")
    (folder / "model" / "config.json").write_text("{}")
    with pytest.raises(RequestError, match=r"cannot load the classifier .*KeyError"):
        measured(vectors, model=str(folder), input="features")
