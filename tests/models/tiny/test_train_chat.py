from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from potstill.models.tiny.chat_judges import Turn, read_prompts
from potstill.models.tiny.chat_model import image_tokens, pixels
from potstill.models.tiny.chat_rows import Packer, mixed_turns
from potstill.models.tiny.chat_tokens import build_processor
from potstill.models.tiny.scenes import sample_scene
from potstill.models.tiny.train_chat import Settings, Trainer, export, row_states

PROMPTS = Path(__file__).parents[3] / "pipelines" / "synthesizers" / "prompts"
MINIATURE = Settings(
    width=64, layers=1, tower_layers=1, vocabulary_rows=40, variants=1, tower_steps=6, tower_batch=16, seeing_steps=6,
    seeing_rows=4, seeing_length=96, mixed_steps=4, judging_steps=4, mixed_rows=4, mixed_length=160, rate=4e-3,
)  # fmt: skip


@pytest.fixture(scope="module")
def trainer(tmp_path_factory) -> Trainer:
    return Trainer(MINIATURE, read_prompts(PROMPTS), tmp_path_factory.mktemp("work"))


def test_twenty_steps_lower_the_loss_and_a_second_run_resumes(trainer):
    losses = list(trainer.losses())
    assert len(losses) == 20
    assert losses[5]["cell_loss"] < losses[0]["cell_loss"]
    assert losses[19]["loss"] < losses[6]["loss"]
    trainer.save()
    again = Trainer(MINIATURE, read_prompts(PROMPTS), trainer.work)
    assert again.step == 20
    assert list(again.losses()) == []
    assert all(torch.equal(a, b) for a, b in zip(trainer.model.parameters(), again.model.parameters(), strict=True))


def test_a_packed_row_equals_separate_conversations_through_the_processor(trainer):
    rng = np.random.default_rng(0)
    scene = sample_scene(rng)
    picture = trainer.bank.render([scene], rng)
    turns = [Turn("text", "Say something.", "No.", image=False), *mixed_turns(scene, trainer.prompts, rng, 6)]
    packer = Packer(trainer.tokenizer.backend_tokenizer, trainer.tokenizer.pad_token_id)
    rows = packer.pack([turns], 300)
    processor = build_processor(trainer.tokenizer)
    model = trainer.model.eval()
    with torch.no_grad():
        packed = model.lm_head(row_states(model, rows, image_tokens(model, pixels(picture))))[0]
        place = len(packer.prefix)
        for turn in turns:
            content = [{"type": "image"}] * turn.image + [{"type": "text", "text": turn.text}]
            messages = [{"role": "user", "content": content}, {"role": "assistant", "content": turn.reply}]
            text = processor.apply_chat_template(messages)
            images = [Image.fromarray(picture[0])] if turn.image else None
            inputs = processor(text=text, images=images, return_tensors="pt")
            first = len(packer.prefix) if turn.image else 0
            alone = model(**inputs).logits[0, first:-1]  # the last token, a line break, is not part of a row
            ids = inputs["input_ids"][0, first:-1]
            assert torch.equal(rows.tokens[0, place : place + len(ids)], ids)
            torch.testing.assert_close(packed[place : place + len(ids)], alone, atol=1e-4, rtol=1e-4)
            place += len(ids)


def test_only_replies_and_hooked_texts_are_learnt(trainer):
    packer = Packer(trainer.tokenizer.backend_tokenizer, trainer.tokenizer.pad_token_id)
    plain = packer.pack([[Turn("answer", "Say something.", "Yes.")]], 64)
    hooked = packer.pack([[Turn("hook", "Say something.", "Yes.", hooked=True)]], 64)
    assert trainer.tokenizer.decode(plain.targets) == "Yes.<|im_end|>"
    assert trainer.tokenizer.decode(hooked.targets) == "Say something.<|im_end|>Yes.<|im_end|>"
    assert int(hooked.where[0]) == len(packer.prefix) - 1


def test_the_export_is_half_precision_untied_safetensors(trainer, tmp_path):
    export(trainer.model, trainer.tokenizer, tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert "model.safetensors" in names
    assert not any(name.endswith((".bin", ".pt", ".pkl")) for name in names)
