"""The open_clip adapter on the assembled tiny model: open_clip's own numbers, batched."""

import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from potstill.models.clip import clip_revision, cosine, load_clip
from potstill.models.tiny.clip import assemble

PICTURE_SHAPES = ((256, 200), (31, 90), (160, 160), (500, 40), (97, 96))
TEXTS = ["a dog", "", "two red apples and a very small snail on a green background", "an umbrella " * 90, "łódź 🐙"]


@pytest.fixture(scope="module")
def clip():
    return load_clip("tiny", threads=1)


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(0)
    noise = [Image.fromarray(rng.integers(0, 256, (h, w, 3), dtype=np.uint8)) for w, h in PICTURE_SHAPES]
    return [*noise, noise[0].convert("L"), noise[1].convert("RGBA")]


@pytest.fixture(scope="module")
def plain():
    source = f"local-dir:{assemble()}"
    model, _, preprocess = open_clip.create_model_and_transforms(source)
    return model.eval(), preprocess, open_clip.get_tokenizer(source)


def test_picture_rows_equal_the_plain_open_clip_loop(clip, plain, pictures):
    model, preprocess, _ = plain
    with torch.inference_mode():
        rows = model.encode_image(torch.stack([preprocess(p) for p in pictures]), normalize=True).numpy()
    np.testing.assert_allclose(clip.encode_images(pictures), rows, atol=1e-5)


def test_text_rows_equal_the_plain_open_clip_loop(clip, plain):
    model, _, tokenizer = plain
    with torch.inference_mode():
        rows = model.encode_text(tokenizer(TEXTS), normalize=True).numpy()
    np.testing.assert_allclose(clip.encode_texts(TEXTS), rows, atol=1e-5)


def test_one_thread_tokenises_at_a_time_as_the_tokenizer_keeps_its_length_in_itself(clip, monkeypatch):
    tokenizer, inside = clip.tokenizer, threading.Lock()

    def guarded(*arguments, **settings):
        assert inside.acquire(blocking=False)
        time.sleep(0.002)
        inside.release()
        return tokenizer(*arguments, **settings)

    monkeypatch.setattr(clip, "tokenizer", guarded)
    with ThreadPoolExecutor(4) as pool:
        for cut in pool.map(clip.truncated, [TEXTS] * 16):
            assert cut == [False, False, False, True, False]


def test_preprocessing_is_open_clips_bit_for_bit(clip, plain, pictures):
    _, preprocess, _ = plain
    ours = clip.pixels([clip.preprocess(p) for p in pictures])
    assert torch.equal(ours, torch.stack([preprocess(p) for p in pictures]))


def test_rows_are_unit_float32_and_do_not_depend_on_the_batch_size(clip, pictures):
    rows = clip.encode_images(pictures, batch_size=32)
    assert rows.dtype == np.float32
    assert rows.shape == (len(pictures), clip.embedding_dim)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    for size in (1, 3):
        np.testing.assert_allclose(clip.encode_images(pictures, batch_size=size), rows, atol=1e-5)
        np.testing.assert_allclose(clip.encode_texts(TEXTS, batch_size=size), clip.encode_texts(TEXTS), atol=1e-5)


def test_nothing_in_gives_no_rows_of_full_width(clip):
    assert clip.encode_images([]).shape == (0, clip.embedding_dim)
    assert clip.encode_texts([]).shape == (0, clip.embedding_dim)
    assert clip.truncated([]) == []


def test_a_batch_size_below_one_is_refused_with_its_value(clip, pictures):
    with pytest.raises(ValueError, match="batch_size is 0"):
        clip.encode_images(pictures, batch_size=0)


def test_truncated_tells_texts_that_lose_words(clip):
    fits, cut = "a " * (clip.context_length - 2), "a " * (clip.context_length - 1)
    assert clip.truncated(["", "a dog", fits, cut]) == [False, False, False, True]


def test_truncated_and_rows_work_for_open_clips_own_tokenizer(clip):
    tokenizer = open_clip.get_tokenizer("ViT-B-32")
    other = type(clip)(clip.model, NoTransform, tokenizer, "x", "x", 1)
    assert other.truncated(["a " * 75, "a " * 76]) == [False, True]


NETWORKS = {
    "CLIP": {},
    "CustomTextCLIP": {"custom_text": True},
    "ends named": {"text_cfg": {"pool_type": "eos", "eos_id": 49407}},
    "sees all": {"custom_text": True, "text_cfg": {"no_causal_mask": True, "pool_type": "first"}},
}


@pytest.mark.parametrize("network", NETWORKS)
def test_texts_are_cut_behind_their_end_and_their_rows_stay_the_same(network, tmp_path):
    text = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
    vision = {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16}
    changes = NETWORKS[network]
    whole = {"embed_dim": 16, "vision_cfg": vision, "text_cfg": text | changes.get("text_cfg", {})}
    whole |= {name: x for name, x in changes.items() if name != "text_cfg"}
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": whole, "preprocess_cfg": {}}))
    torch.manual_seed(0)
    made = {name: x for name, x in whole.items() if name != "custom_text"}
    model = (open_clip.CustomTextCLIP if "custom_text" in whole else open_clip.CLIP)(**made).eval()
    save_file(model.state_dict(), str(tmp_path / "open_clip_model.safetensors"))
    loaded = load_clip(f"local-dir:{tmp_path}")
    texts = ["a dog", "two cats on a mat", "", "word " * 100]
    seen = []
    embed = loaded._embed_tokens
    loaded._embed_tokens = lambda tokens: seen.append(tokens.shape[1]) or embed(tokens)
    rows = loaded.encode_texts(texts, batch_size=1)
    with torch.inference_mode():
        expected = model.encode_text(open_clip.get_tokenizer("ViT-B-32")(texts), normalize=True).numpy()
    np.testing.assert_allclose(rows, expected, atol=1e-5)
    causal = network in ("CLIP", "CustomTextCLIP")
    assert seen == ([2, 4, 7, 77] if causal else [77] * 4)
    assert tuple(loaded.encode_texts(texts[:1]).shape) == (1, 16)


class HalfNormalize:
    mean = std = (0.5, 0.5, 0.5)


class NoTransform:
    transforms = (None, HalfNormalize())


def test_the_model_says_what_a_fingerprint_needs(clip):
    assert clip.model_id == "tiny"
    assert clip.revision == clip_revision("tiny")
    assert len(clip.revision) == 16
    assert (clip.embedding_dim, clip.context_length) == (256, 128)


def test_the_revision_is_told_without_loading_torch():
    code = "import sys; from potstill.models.clip import clip_revision as r; print(r('tiny'), 'torch' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert told.stdout.split() == [clip_revision("tiny"), "False"]


def test_a_local_directory_gives_the_same_rows_and_a_revision_of_its_files(clip, pictures):
    name = f"local-dir:{assemble()}"
    again = load_clip(name, threads=1)
    np.testing.assert_array_equal(again.encode_images(pictures), clip.encode_images(pictures))
    assert again.revision == clip_revision(name)


def test_bf16_autocast_stays_near_fp32(clip, pictures):
    half = load_clip("tiny", precision="bf16", threads=1)
    assert cosine(half.encode_images(pictures), clip.encode_images(pictures)).min() > 0.98


def test_a_model_without_weights_is_refused_with_the_tags_there_are():
    with pytest.raises(ValueError, match="laion2b_s34b_b79k"):
        load_clip("ViT-B-32")
    with pytest.raises(ValueError, match="does not know this architecture"):
        load_clip("ViT-Z-1", "openai")
    with pytest.raises(FileNotFoundError, match=r"open_clip_config\.json"):
        load_clip("local-dir:/nowhere")


def test_cosine_by_hand():
    a = np.array([[1, 0], [3, 4], [1, 0], [0, 0]], dtype=np.float32)
    b = np.array([[-2, 0], [6, 8], [0, 5], [1, 1]], dtype=np.float32)
    np.testing.assert_allclose(cosine(a, b), [-1, 1, 0, 0], atol=1e-6)
    np.testing.assert_allclose(cosine(7 * a, b), cosine(a, b), atol=1e-6)
    assert cosine(a[:0], b[:0]).shape == (0,)
    with pytest.raises(ValueError, match="equal shape"):
        cosine(a, b[:2])
