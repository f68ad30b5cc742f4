"""The CLIP stage with the embedded model, on a few plain pictures."""

import io

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from potstill.pipelines.scorers.clip_score import ClipScore


@pytest.fixture(scope="module")
def score():
    return ClipScore(text=("caption",), batch_size=2).build()


def picture(colour):
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), colour).save(buffer, "PNG")
    return buffer.getvalue()


def rows(*triples):
    """(image id, bytes, caption)"""
    ids, data, captions = zip(*triples, strict=True)
    return pa.table(
        {
            "sample_id": [f"s{n}" for n in range(len(ids))],
            "image_id": list(ids),
            "image": pa.array(data, pa.large_binary()),
            "caption": pa.array(captions, pa.string()),
        }
    )


def test_the_score_is_the_cosine_of_the_embeddings_that_it_writes(score):
    out = score(rows(("red", picture("red"), "a red square"), ("blue", picture("blue"), "a blue square")))
    for value, image, text in zip(
        out["clip_score"].to_pylist(), out["clip_score_image"], out["clip_score_text"], strict=True
    ):
        a, b = np.asarray(image.values, float), np.asarray(text.values, float)
        assert value == pytest.approx(a @ b, abs=2e-3)
        assert np.linalg.norm(a) == pytest.approx(1, abs=2e-3) == np.linalg.norm(b)
    assert out["clip_score_image"].type == pa.list_(pa.float16(), 256)


def test_a_row_without_text_gets_an_embedding_and_no_score(score):
    out = score(rows(("red2", picture("red"), None), ("red3", picture("red"), "  ")))
    assert out["clip_score"].to_pylist() == [None, None]
    assert out["clip_score_image"].null_count == 0
    assert pa.types.is_null(out["clip_score_text"].type)


def test_a_picture_that_cannot_be_decoded_costs_its_own_row_only(score):
    out = score(rows(("bad", b"no picture", "a"), ("green", picture("green"), "a")))
    assert [type(error).__name__ if error else None for error in out["error"]][1] is None
    assert isinstance(out["error"][0], Exception)
    assert out["clip_score"].is_valid().to_pylist() == [False, True]


def test_rows_that_share_a_picture_share_its_embedding_and_keep_their_own_texts(score):
    out = score(rows(("same", picture("red"), "red"), ("same", picture("red"), "a dog on a boat")))
    assert out["clip_score_image"][0].as_py() == out["clip_score_image"][1].as_py()
    assert out["clip_score"][0].as_py() != out["clip_score"][1].as_py()


def test_columns_are_named_after_the_stage():
    assert list(ClipScore(name="answer_clip").writes()) == ["answer_clip", "answer_clip_image", "answer_clip_text"]


def test_words_beyond_the_context_count_only_in_windows():
    long = " ".join(["a red square"] * 60)
    pair = rows(("red4", picture("red"), long), ("red5", picture("red"), f"{long} and a blue train with two dogs"))
    cut = ClipScore(text=("caption",)).build()(pair)["clip_score"].to_pylist()
    assert cut[0] == pytest.approx(cut[1], abs=1e-5)
    windows = ClipScore(text=("caption",), windows="mean").build()(pair)["clip_score"].to_pylist()
    assert windows[0] != pytest.approx(windows[1], abs=1e-3)


def test_texts_may_be_joined():
    pair = rows(("red6", picture("red"), "red"), ("red6", picture("red"), "red square"))
    pair = pair.append_column("more", pa.array(["square", None]))
    out = ClipScore(text=("caption", "more"), join=True).build()(pair)["clip_score"].to_pylist()
    assert out[0] == pytest.approx(out[1], abs=1e-5)


def test_a_model_that_does_not_exist_is_named_with_what_there_is():
    with pytest.raises(ValueError, match="no-such-model"):
        ClipScore(model="no-such-model", pretrained="x").identity()
