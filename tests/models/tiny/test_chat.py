"""The shipped chat model: loads without a network, looks at the picture, knows the project's own prompts."""

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForImageTextToText

from potstill.models.tiny.chat_judges import Turn, read_prompts
from potstill.models.tiny.eval_chat import (
    ChatModel,
    answer_turns,
    captions,
    draw_exam,
    exact,
    hooks,
    judge_turns,
)
from potstill.models.tiny.scenes import TRAIN_STYLES

ROOT = Path(__file__).parents[3]
CHAT = ROOT / "models" / "tiny" / "chat"
PROMPTS = ROOT / "pipelines" / "synthesizers" / "prompts"
SCENES = 40


@pytest.fixture(scope="module")
def model() -> ChatModel:
    torch.set_num_threads(1)
    return ChatModel(CHAT)


@pytest.fixture(scope="module")
def exam():
    return draw_exam(TRAIN_STYLES, SCENES, seed=7)


def test_the_folder_is_small_and_holds_no_pickle():
    assert (CHAT / "model.safetensors").stat().st_size <= 20_000_000
    assert not [path.name for path in CHAT.iterdir() if path.suffix in {".bin", ".pt", ".pth", ".pkl", ".ckpt"}]


def test_the_configuration_has_the_form_that_vllm_reads(model):
    config = model.model.config
    assert isinstance(model.model, AutoModelForImageTextToText._model_mapping[type(config)])
    assert config.model_type == "idefics3"
    assert config.text_config.head_dim in (32, 64)
    assert not config.tie_word_embeddings
    assert (config.vision_config.image_size // config.vision_config.patch_size // config.scale_factor) ** 2 == 9


def test_the_prompts_are_those_it_was_trained_on():
    trained = json.loads((CHAT / "metrics.json").read_text())["prompts_sha256"]
    assert {name: prompt.sha256 for name, prompt in read_prompts(PROMPTS).items()} == trained


def test_the_constant_part_of_a_prompt_is_one_token(model):
    for prompt in read_prompts(PROMPTS).values():
        assert len(model.processor.tokenizer(prompt.before, add_special_tokens=False)["input_ids"]) == 1


def test_a_hook_ends_where_the_picture_ends(model, exam):
    inputs = model.processor(text="<|im_start|>user\n<image>", images=[exam.images[0]], return_tensors="pt")
    assert model.processor.tokenizer.decode(inputs["input_ids"][0, -1:]) == "<fake_token_around_image>"
    assert inputs["input_ids"].shape[1] == 13


def test_captions_look_at_the_picture(model, exam):
    right, shuffled = captions(model, exam, exam.images), captions(model, exam, exam.shuffled())
    assert right["caption_objects"] >= 0.85
    assert right["caption_exact"] >= 0.5
    assert shuffled["caption_objects"] <= 0.15


def test_answers_look_at_the_picture(model, exam):
    turns = answer_turns(exam)
    right, shuffled = exact(model, turns, exam.images), exact(model, turns, exam.shuffled())
    assert right >= 0.55
    assert right - shuffled >= 0.25


@pytest.mark.parametrize("name", ["solvability", "hallucination"])
def test_grounded_judges_look_at_the_picture(model, exam, name):
    turns = judge_turns(exam, name, read_prompts(PROMPTS))
    right, shuffled = exact(model, turns, exam.images), exact(model, turns, exam.shuffled())
    assert right >= 0.85
    assert right - shuffled >= 0.25


@pytest.mark.parametrize(("name", "least"), [("extract", 0.8), ("clarity", 0.85), ("nonsense", 0.65)])
def test_judges_of_text_know_good_from_broken(model, exam, name, least):
    assert exact(model, judge_turns(exam, name, read_prompts(PROMPTS)), exam.images) >= least


def test_hooked_texts_are_instructions_about_the_picture(model, exam):
    numbers = hooks(model, exam)
    assert numbers["hooks_well_formed"] >= 0.7
    assert numbers["hooks_about_picture"]["right"] >= 0.55
    assert numbers["hooks_about_picture"]["shuffled"] <= 0.2


def test_left_padding_in_a_batch_changes_no_reply(model, exam):
    turns = [Turn("answer", "Describe the picture.", ""), Turn("answer", "How many things are there in all?", "")]
    together = model.reply(turns, exam.images[:2])
    alone = [model.reply([turn], [image])[0] for turn, image in zip(turns, exam.images, strict=False)]
    assert together == alone
