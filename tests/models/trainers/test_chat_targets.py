"""Labels lie on the assistant's tokens alone, in every family's template, before and after pictures."""

import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment
from PIL import Image
from transformers import AutoProcessor

from potstill.models.engines.settings import TINY_FOLDER
from potstill.models.trainers.chat_targets import script, tokenise
from tests.models.engines.random_chat import TEMPLATE
from tests.models.engines.test_families import llava, qwen2_vl
from tests.models.engines.test_template import GEMMA3, INTERN_VL, LLAVA, QWEN2_VL, SMOL_VLM, TEXT_FIRST

THINKING = """{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' and loop.last %}\
<think>\n\n</think>\n\n{% endif %}{% for c in m.content %}{{ c.text }}{% endfor %}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}"""
"""Renders the last answer otherwise than earlier ones, and begins a reply otherwise than it is kept."""


def say(role, words, image=False):
    return {"role": role, "content": [*([{"type": "image"}] if image else []), {"type": "text", "text": words}]}


TALK = [say("user", "one?", True), say("assistant", "ONE"), say("user", "two?"), say("assistant", "TWO")]


def renderer(template):
    compiled = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(template)
    return lambda messages, reply: compiled.render(messages=messages, add_generation_prompt=reply)


@pytest.mark.parametrize(
    ("template", "ends", "learnt"),
    [
        (TEMPLATE, ["<|im_end|>"], ["ONE<|im_end|>", "TWO<|im_end|>"]),
        (QWEN2_VL, ["<|im_end|>"], ["ONE<|im_end|>", "TWO<|im_end|>"]),
        (LLAVA, ["</s>"], [" ONE ", " TWO</s>"]),
        (INTERN_VL, ["<|im_end|>"], ["ONE<|im_end|>", "TWO<|im_end|>"]),
        (GEMMA3, ["<eos>", "<end_of_turn>"], ["ONE<end_of_turn>", "TWO<end_of_turn>"]),
        (SMOL_VLM, ["<end_of_utterance>"], [" ONE<end_of_utterance>", " TWO<end_of_utterance>"]),
        (TEXT_FIRST, ["</s>"], ["[INST]ONE[/INST]", "[INST]TWO[/INST]</s>"]),
        (THINKING, ["<|im_end|>"], ["ONE<|im_end|>", "\n</think>\n\nTWO<|im_end|>"]),
    ],
    ids=["ours", "qwen2-vl", "llava-1.5", "internvl", "gemma3", "smolvlm", "text-first", "thinking"],
)
def test_the_assistant_learns_its_words_and_its_end(template, ends, learnt):
    written = script(renderer(template), TALK, ends)
    assert [written.text[slice(*span)] for span in written.spans] == learnt


def test_a_system_turn_and_an_assistant_that_begins_are_told_apart():
    talk = [say("assistant", "hello"), *TALK]
    written = script(renderer(TEMPLATE), talk, ["<|im_end|>"])
    assert written.text[slice(*written.spans[0])] == "hello<|im_end|>"
    written = script(renderer(TEMPLATE), [say("system", "be short"), *TALK], ["<|im_end|>"])
    assert written.text[slice(*written.spans[0])] == "ONE<|im_end|>"


def test_an_answer_whose_words_stand_in_the_question_is_still_found():
    talk = [say("user", "say ONE"), say("assistant", "ONE"), say("user", "ONE"), say("assistant", "ONE")]
    for template in (TEMPLATE, THINKING, LLAVA):
        written = script(renderer(template), talk, ["<|im_end|>"])
        assert len({span[0] for span in written.spans}) == 2
        assert all("ONE" in written.text[slice(*span)] and "say" not in written.text[slice(*span)]
                   for span in written.spans)  # fmt: skip


def test_a_conversation_without_an_answer_teaches_nothing():
    assert script(renderer(TEMPLATE), TALK[:1], ["<|im_end|>"]).spans == ()


def test_a_template_that_hides_the_words_is_refused():
    with pytest.raises(ValueError, match="does not show where turn 2 begins"):
        script(renderer("{{ messages | length }}{{ add_generation_prompt }}"), TALK, ["</s>"])


def tiny():
    return None, AutoProcessor.from_pretrained(TINY_FOLDER, local_files_only=True)


@pytest.mark.parametrize(
    ("family", "end", "learnt"),
    [(tiny, "<|im_end|>", "ONE<|im_end|>TWO<|im_end|>"), (llava, "</s>", " ONE  TWO</s>"),
     (qwen2_vl, "<|im_end|>", "ONE<|im_end|>TWO<|im_end|>")],
)  # fmt: skip
@pytest.mark.parametrize("where", [(0,), (2,), (0, 2), (0, 0, 2), ()])
def test_targets_survive_the_expansion_of_pictures(family, end, learnt, where):
    _, processor = family()
    talk = [{**turn, "content": turn["content"][-1:]} for turn in TALK]
    for place in where:
        talk[place]["content"] = [{"type": "image"}, *talk[place]["content"]]
    images = [Image.new("RGB", (60 + 30 * number, 90)) for number in range(len(where))]

    def render(messages, reply):
        return processor.apply_chat_template(messages, add_generation_prompt=reply, tokenize=False)

    tokens = tokenise(processor, script(render, talk, [end]), images)
    assert processor.tokenizer.decode(tokens.ids[tokens.weight > 0]) == learnt
    seen = int((tokens.ids == processor.image_token_id).sum())
    plain = processor(text=[render(talk, False)], images=[images] if images else None)["input_ids"][0]
    assert seen == list(plain).count(processor.image_token_id) and (seen > 0) == bool(where)


def test_a_processor_that_refuses_says_why():
    _, processor = tiny()
    written = script(lambda messages, reply: "<image>x", TALK[:1], ["<|im_end|>"])
    with pytest.raises(ValueError, match="the processor refuses the row: ValueError"):
        tokenise(processor, written, [Image.new("RGB", (9, 9))] * 2)
