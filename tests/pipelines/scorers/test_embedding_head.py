"""Heads on embeddings: layers by hand, what a file may hold, what does not fit."""

import numpy as np
import pyarrow as pa
import pytest
from safetensors.numpy import save_file

from potstill.config import RequestError
from potstill.models.head import load_layers
from potstill.pipelines.scorers.embedding_head import EmbeddingHead

KIND = pa.list_(pa.float16(), 2)


@pytest.fixture
def head(tmp_path):
    def make(**tensors):
        save_file({name.replace("_", "."): np.array(value, np.float32) for name, value in tensors.items()},
                  tmp_path / "head.safetensors")  # fmt: skip
        return str(tmp_path / "head.safetensors")

    return make


def run(stage, values, kind=KIND):
    ids = [str(number) for number in range(len(values))]
    rows = pa.table({"sample_id": ids, "clip_score_image": pa.array(values, kind)})
    return stage.build()(rows)["embedding_head"].to_pylist()


def test_one_layer_by_hand_and_null_stays_null(head):
    stage = EmbeddingHead(weights=head(weight=[[1, 2]], bias=[0.5]), normalise=False)
    assert run(stage, [[1, 1], None, [0, -1]]) == [3.5, None, -1.5]
    assert run(stage, []) == []
    assert run(stage, [None, None], pa.null()) == [None, None]


def test_vectors_are_made_unit_unless_told_and_a_zero_vector_is_no_trouble(head):
    stage = EmbeddingHead(weights=head(weight=[[1, 0]]))
    assert run(stage, [[3, 4], [0, 0]]) == [pytest.approx(0.6), 0.0]


def test_layers_go_by_their_numbers_with_an_activation_between(head):
    weights = head(layers_10_weight=[[1, 1]], layers_2_weight=[[1, 0], [0, -1]], layers_2_bias=[0, 0])
    assert run(EmbeddingHead(weights=weights, normalise=False), [[2, 3]]) == [-1]
    assert run(EmbeddingHead(weights=weights, normalise=False, activation="relu"), [[2, 3]]) == [2]
    smooth = run(EmbeddingHead(weights=weights, normalise=False, activation="gelu"), [[2, 3]])
    assert smooth == [pytest.approx(1.9546 - 0.0036, abs=2e-3)]


def test_outputs_become_probabilities(head):
    weights = head(weight=[[0, 0], [np.log(3), 0]])
    assert run(EmbeddingHead(weights=weights, output="softmax", index=1), [[1, 0]]) == [pytest.approx(0.75)]
    assert run(EmbeddingHead(weights=weights, output="sigmoid", index=1), [[1, 0]]) == [pytest.approx(0.75)]
    extreme = head(weight=[[1e4, 0]])
    assert run(EmbeddingHead(weights=extreme, output="sigmoid"), [[1, 0], [-1, 0]]) == [1.0, 0.0]


def test_what_does_not_fit_is_refused(head, tmp_path):
    with pytest.raises(RequestError, match="width 3, the column 'clip_score_image' has 2"):
        run(EmbeddingHead(weights=head(weight=[[1, 2, 3]])), [[1, 1]])
    with pytest.raises(RequestError, match=r"index 1: the head .* has 1 outputs"):
        run(EmbeddingHead(weights=head(weight=[[1, 2]]), index=1), [[1, 1]])
    with pytest.raises(RequestError, match="no layer behind"):
        load_layers(tmp_path / head(a_0_weight=[[1, 2]], a_1_weight=[[1, 2]]))
    with pytest.raises(RequestError, match="no tensor is called"):
        load_layers(tmp_path / head(scale=[1]))
    (tmp_path / "pickle.pt").write_bytes(b"\x80\x04N.")
    with pytest.raises(RequestError, match=r"give a \.safetensors file"):
        load_layers(tmp_path / "pickle.pt")
    with pytest.raises(RequestError, match="there is no such file"):
        EmbeddingHead(weights="/nowhere").identity()


def test_another_file_is_another_identity(head):
    first = EmbeddingHead(weights=head(weight=[[1, 2]])).identity()
    assert EmbeddingHead(weights=head(weight=[[1, 3]])).identity() != first
