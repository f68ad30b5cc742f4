"""open_clip models by name: described, changed, built, loaded, written."""

import json

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from potstill.config import RequestError
from potstill.models.clip import load_clip
from potstill.models.tiny.clip import assemble
from potstill.models.trainers.clip_network import blueprint, check_name, load, parse
from tests.models.trainers.clip_world import STUDENT


def test_names_are_those_of_the_clip_adapter():
    assert parse("ViT-B-32:openai") == ("ViT-B-32", "openai") and parse("ViT-B-32") == ("ViT-B-32", None)
    folder = str(assemble())
    assert parse("tiny") == parse(folder) == parse(f"local-dir:{folder}") == (f"local-dir:{folder}", None)
    assert parse("hf-hub:some/model") == ("hf-hub:some/model", None)


def test_changes_go_over_the_description_key_by_key():
    plain, changed = blueprint("ViT-B-32"), blueprint("ViT-B-32", STUDENT)
    assert plain.model["vision_cfg"]["layers"] == 12 and plain.size == 224
    assert changed.model["vision_cfg"]["layers"] == 1 and changed.model["text_cfg"]["vocab_size"] == 49408
    assert changed.size == changed.preprocess["size"] == 48
    assert blueprint("ViT-B-32").model["vision_cfg"]["layers"] == 12
    assert blueprint("ViT-B-16-SigLIP:webli").preprocess["resize_mode"] == "squash"


def test_a_model_that_is_built_and_written_is_the_same_for_plain_open_clip(tmp_path):
    plan = blueprint("ViT-B-32", STUDENT)
    torch.manual_seed(3)
    model = plan.build().eval()
    plan.write(tmp_path / "model", model, model.state_dict())
    loaded, _, transform = open_clip.create_model_and_transforms(f"local-dir:{tmp_path / 'model'}")
    picture = Image.fromarray(np.arange(60 * 50 * 3, dtype=np.uint8).reshape(60, 50, 3))
    tokens = open_clip.get_tokenizer(f"local-dir:{tmp_path / 'model'}")(["a dog"])
    assert torch.equal(tokens, plan.tokenizer(["a dog"])) and tokens.shape == (1, 32)
    for ours, theirs in zip(
        model(transform(picture)[None], tokens), loaded.eval()(transform(picture)[None], tokens), strict=True
    ):
        assert torch.equal(ours, theirs)
    again, same = load(str(tmp_path / "model"))
    assert same.model == plan.model and same.preprocess == plan.preprocess
    assert torch.equal(again.state_dict()["visual.proj"], model.state_dict()["visual.proj"])


def test_a_text_tower_of_transformers_takes_its_description_and_its_tokenizer_along(tmp_path):
    model, plan = load("tiny")
    with torch.no_grad():
        model.text.proj.weight.mul_(-1)
    plan.write(tmp_path, model, model.state_dict())
    config = json.loads((tmp_path / "open_clip_config.json").read_text())
    assert config["model_cfg"]["text_cfg"]["hf_model_name"] == str(tmp_path)
    texts, picture = ["a dog", "two cats on a red background"], Image.new("RGB", (90, 60), "red")
    ours, tiny = load_clip(f"local-dir:{tmp_path}"), load_clip("tiny")
    assert np.allclose(ours.encode_texts(texts), -tiny.encode_texts(texts), atol=1e-6)
    assert np.allclose(ours.encode_images([picture]), tiny.encode_images([picture]), atol=1e-6)


@pytest.mark.parametrize(
    ("name", "said"),
    [("ViT-B-33", r"no architecture 'ViT-B-33' \(ViT-B-32"), ("nothing/here", "no architecture 'nothing/here'")],
)
def test_an_unknown_name_is_said(name, said):
    with pytest.raises(RequestError, match=said):
        blueprint(name)


def test_other_mistakes_are_said(tmp_path):
    with pytest.raises(
        RequestError, match=r"'ViT-B-32' is an architecture without weights; write ViT-B-32:TAG \(tags: "
    ):
        load("ViT-B-32")
    with pytest.raises(RequestError, match=r"does not take this configuration of ViT-B-32: .*hight"):
        blueprint("ViT-B-32", {"vision_cfg": {"hight": 3}}).build()
    with pytest.raises(RequestError, match="must be square"):
        blueprint("ViT-B-32", {"vision_cfg": {"image_size": [32, 64]}}).size  # noqa: B018
    with pytest.raises(RequestError, match="third tower"):
        blueprint("coca_ViT-B-32").build()
    for name in (f"local-dir:{tmp_path}", str(tmp_path)):
        with pytest.raises(RequestError, match=r"holds no open_clip_config.json"):
            check_name(name)
    for name in ("tiny", "ViT-B-32:openai", "hf-hub:some/model"):
        check_name(name)
