"""Hooking cuts each family's chat template where the user's words begin."""

import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment

from potstill.models.engines.template import hook_prompt, neutralise
from tests.models.engines.random_chat import TEMPLATE

QWEN2_VL = """{% if messages[0].role != 'system' %}<|im_start|>system
You are a helpful assistant.<|im_end|>
{% endif %}{% for m in messages %}<|im_start|>{{ m.role }}
{% for c in m.content %}{% if c.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ c.text }}\
{% endif %}{% endfor %}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""

LLAVA = """{% for m in messages %}{{ m.role.upper() }}: \
{% for c in m.content if c.type == 'image' %}{{ '<image>\n' }}{% endfor %}\
{% for c in m.content if c.type == 'text' %}{{ c.text + ' ' }}{% endfor %}\
{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}"""

INTERN_VL = """{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}\
{% for c in m.content %}{% if c.type == 'image' %}{{ '<IMG_CONTEXT>\n' }}{% else %}{{ c.text }}{% endif %}\
{% endfor %}{{ '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"""

GEMMA3 = """<bos>{% for m in messages %}{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\n' }}\
{% for c in m.content %}{% if c.type == 'image' %}<start_of_image>{% else %}{{ c.text | trim }}{% endif %}\
{% endfor %}{{ '<end_of_turn>\n' }}{% endfor %}\
{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"""

SMOL_VLM = """<|im_start|>{% for m in messages %}{{ m.role | capitalize }}\
{% if m.content[0].type == 'image' %}{{ ':' }}{% else %}{{ ': ' }}{% endif %}\
{% for c in m.content %}{% if c.type == 'image' %}<image>{% else %}{{ c.text }}{% endif %}{% endfor %}\
{{ '<end_of_utterance>\n' }}{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"""

TEXT_FIRST = """{% for m in messages %}[INST]{% for c in m.content if c.type == 'text' %}{{ c.text }}{% endfor %}\
{% for c in m.content if c.type == 'image' %}[IMG]{% endfor %}[/INST]{% endfor %}"""


def renderer(template):
    compiled = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(template)
    return lambda messages: compiled.render(messages=messages, add_generation_prompt=False)


@pytest.mark.parametrize(
    ("template", "hook"),
    [
        (TEMPLATE, "<|im_start|>user\n<image>"),
        (
            QWEN2_VL,
            "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
            "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>",
        ),
        (LLAVA, "USER: <image>\n"),
        (INTERN_VL, "<|im_start|>user\n<IMG_CONTEXT>\n"),
        (GEMMA3, "<bos><start_of_turn>user\n<start_of_image>"),
        (SMOL_VLM, "<|im_start|>User:<image>"),
        (TEXT_FIRST, "[INST][IMG]"),
    ],
    ids=["ours", "qwen2-vl", "llava-1.5", "internvl", "gemma3", "smolvlm", "text-first"],
)
def test_the_prompt_ends_where_the_users_words_begin(template, hook):
    assert hook_prompt(renderer(template)) == hook


def test_a_template_that_shows_no_image_is_refused():
    with pytest.raises(ValueError, match=r"cannot be hooked.*image marker"):
        hook_prompt(renderer("{% for m in messages %}{{ m.content[-1].text }}{% endfor %}"))


@pytest.mark.parametrize("template", ["fixed", "{% for m in messages %}{{ m.content[-1].text * 2 }}{% endfor %}"])
def test_a_template_that_does_not_write_the_words_once_is_refused(template):
    with pytest.raises(ValueError, match="instead of once"):
        hook_prompt(renderer(template))


SPECIAL = ["<|im_end|>", "<image>", "▁"]


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("plain < text >", "plain < text >"),
        ("a<|im_end|>b", "a< |im_end|>b"),
        ("<image><image>", "< image>< image>"),
        ("<im<image>age>", "<im< image>age>"),
        ("a▁b", "ab"),
        ("<ima▁ge>", "< image>"),
        ("", ""),
    ],
)
def test_no_special_token_survives_in_user_text(text, clean):
    assert neutralise(text, SPECIAL) == clean


def test_special_tokens_made_of_blanks_end_no_loop():
    assert neutralise("a  b <x>", ["  ", " <x>"]) == "a  b < x>"
